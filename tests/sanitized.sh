#!/bin/sh
# The Python tests that reach the native core, with it built under AddressSanitizer and UBSan.
#
# The sanitized module takes the place of the usual one while the tests run, and gives it back whatever
# happens. CPython frees little at exit, so leaks are looked for by the C tests only.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
usual=$(ls statekeep_cli/_native*.so)
keep=build/usual-native
mkdir -p build/sanitized
cp "$usual" "$keep"
trap 'cp "$keep" "$usual"' EXIT
STATEKEEP_SANITIZE=1 "$python" setup.py -q build_ext \
  --build-temp build/sanitized/objects --build-lib build/sanitized
cp build/sanitized/statekeep_cli/_native*.so "$usual"
LD_PRELOAD="$(cc -print-file-name=libasan.so) $(cc -print-file-name=libubsan.so)" \
  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1 STATEKEEP_CASES="${STATEKEEP_CASES:-300}" \
  "$python" -m pytest -q -p no:cacheprovider tests/test_router.py tests/test_cases.py tests/test_differential.py
