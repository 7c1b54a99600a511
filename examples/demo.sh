#!/bin/sh
# A broken deployment and its fix, as `make demo` shows them: `statekeep` has to be on the PATH.
set -u
cd "$(dirname "$0")/02-broken-deployment" || exit 1

# run EXPECTED-EXIT-CODE COMMAND...
run() {
    expected=$1
    shift
    printf '\n$ %s\n' "$*"
    "$@"
    code=$?
    printf '(exit code %s)\n' "$code"
    test "$code" -eq "$expected" || exit 1
}

printf 'Version 2 of an issue workflow, deployed without a mapping for what it renames:\n'
run 3 statekeep preview issue-v1.yaml issue-v2.yaml --actors issue.jsonl

printf '\nWhat would help:\n'
run 0 statekeep suggest issue-v1.yaml issue-v2.yaml --actors issue.jsonl

printf '\nVersion 3 has the mapping. 20 issues are on version 2 by now, 10 still wait for their rescue:\n'
run 0 statekeep preview issue-v1.yaml issue-v2.yaml issue-v3.yaml --actors issue-after-v2.jsonl

printf '\nThe definitions and actors are in examples/02-broken-deployment; its README.md tells the story.\n'
