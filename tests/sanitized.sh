#!/bin/sh
# The Python suite, with the native core built under AddressSanitizer and UBSan. Tests of databases are left
# out: what they lead through the core is what the tests of exports lead through it as well.
#
# The sanitized module takes the place of the usual one while the tests run, and gives it back whatever
# happens. CPython frees little at exit, so leaks are looked for by the C tests only.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
usual=$(ls statekeep_cli/_native*.so)
mkdir -p build/sanitized
STATEKEEP_SANITIZE=1 "$python" setup.py -q build_ext \
  --build-temp build/sanitized/objects --build-lib build/sanitized
cp "$usual" build/usual-native
# Moved, not copied over: a process that has the file mapped keeps what it has.
put() { cp "$1" "$usual.new" && mv "$usual.new" "$usual"; }
trap 'put build/usual-native' EXIT
put build/sanitized/statekeep_cli/_native*.so
LD_PRELOAD="$(cc -print-file-name=libasan.so) $(cc -print-file-name=libubsan.so)" \
  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1 PYTHONMALLOC=malloc \
  STATEKEEP_CASES="${STATEKEEP_CASES:-300}" \
  "$python" -m pytest -q -n "${JOBS:-2}" -p no:cacheprovider -m "not database" "$@"
