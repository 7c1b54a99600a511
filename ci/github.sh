#!/usr/bin/env bash
# What action.yml runs, a step each: `github.sh install|preview|comment|gate`.
#
# Everything comes in by environment variables, and nothing from a pull request is ever a part of this text:
#   STATEKEEP_BASE     the base to compare with; else origin/$GITHUB_BASE_REF
#   STATEKEEP_CONFIG, STATEKEEP_ACTORS, STATEKEEP_MAX_STRAND   options of `statekeep ci`, where they are set
#   STATEKEEP_OUT      where reports go
#   STATEKEEP_SOURCE   what pip installs; else the action's own checkout
set -euo pipefail

out=${STATEKEEP_OUT:?names the folder for reports}
venv=${RUNNER_TEMP:-/tmp}/statekeep-venv
if [ -d "$venv" ]; then
    PATH=$venv/bin:$PATH
fi

install() {
    if command -v statekeep >/dev/null; then
        statekeep --version
        return
    fi
    # -I, and -P below: what lies in the working directory is the pull request's, and is not to be imported.
    python3 -I -m venv "$venv"
    "$venv/bin/python" -I -m pip install --quiet --disable-pip-version-check "${STATEKEEP_SOURCE:-$GITHUB_ACTION_PATH}"
    "$venv/bin/statekeep" --version
}

preview() {
    local base=${STATEKEEP_BASE:-} code=0 link=""
    if [ -z "$base" ]; then
        if [ -z "${GITHUB_BASE_REF:-}" ]; then
            echo "not a pull request, and no base is given: nothing to compare with"
            output code 0
            output reports false
            return
        fi
        base=origin/$GITHUB_BASE_REF
    fi
    if [ -n "${GITHUB_SERVER_URL:-}" ]; then
        link=$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID
    fi
    local options=(--base "$base" --out "$out" --link "$link")
    if [ -n "${STATEKEEP_CONFIG:-}" ]; then options+=(--config "$STATEKEEP_CONFIG"); fi
    if [ -n "${STATEKEEP_ACTORS:-}" ]; then options+=(--actors "$STATEKEEP_ACTORS"); fi
    if [ -n "${STATEKEEP_MAX_STRAND:-}" ]; then options+=(--max-strand "$STATEKEEP_MAX_STRAND"); fi
    # What definitions say may look like a command to the runner; it listens only to what is printed last.
    local token
    token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    echo "::stop-commands::$token"
    statekeep ci "${options[@]}" || code=$?
    echo "::$token::"
    if [ -f "$out/annotations.txt" ]; then
        cat "$out/annotations.txt"
    fi
    output code "$code"
    # Past the gate (3) there are reports like within it; anything else went wrong on the way to them.
    case $code in
        0 | 3) output reports true ;;
        *) output reports false ;;
    esac
}

comment() {
    "$(command -v "$venv/bin/python" || echo python3)" -P -m statekeep_cli.commenting "$out"
}

gate() {
    local code=${STATEKEEP_CODE:-1}
    if [ "$code" = 3 ]; then
        echo "past the gate; see the report"
    elif [ "$code" != 0 ]; then
        echo "statekeep ci failed with exit code $code; see the step that ran it"
    fi
    exit "$code"
}

output() {
    echo "$1=$2" >>"${GITHUB_OUTPUT:-/dev/stdout}"
}

case ${1:-} in
    install | preview | comment | gate) "$1" ;;
    *)
        echo "usage: github.sh install|preview|comment|gate" >&2
        exit 2
        ;;
esac
