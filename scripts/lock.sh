#!/bin/sh
# Writes the locks: exact versions and hashes of everything that ssm_bench, its tests and its site need. There are two,
# with the oldest and the newest JAX that are supported, since new versions of JAX need a newer Python:
# constraints.txt, resolved on Python 3.11, and constraints-3.13.txt, resolved on Python 3.13.
# Both come from the public index alone, whatever pip is set to here, and their hashes are those of all platforms.
# scripts/lock.sh --upgrade takes the newest versions.
set -eu
cd "$(dirname "$0")/.."
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT INT TERM

export PIP_CONFIG_FILE=/dev/null CUSTOM_COMPILE_COMMAND="make lock"
unset PIP_FIND_LINKS PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_CONSTRAINT || true

resolve() { # VERSION FILE [OPTION...]
    python=$(sh scripts/python.sh "$1") || exit 2
    lock=$2
    shift 2
    "$python" -m venv --clear "$tools"
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check pip-tools==7.6.2
    "$tools/bin/pip-compile" --quiet --extra dev --extra docs --generate-hashes --strip-extras --allow-unsafe \
        --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --output-file "$lock" "$@" pyproject.toml
}

resolve 3.11 constraints.txt "$@"
resolve 3.13 constraints-3.13.txt "$@"
