#!/bin/sh
# Writes constraints.txt: exact versions and hashes of everything that ssm_bench, its tests and its site need.
# It is resolved on Python 3.11, the oldest that is supported, from the public index alone, whatever pip is set to here;
# the hashes are those of all platforms. scripts/lock.sh --upgrade takes the newest versions.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3.11}
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT INT TERM

export PIP_CONFIG_FILE=/dev/null CUSTOM_COMPILE_COMMAND="make lock"
unset PIP_FIND_LINKS PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_CONSTRAINT || true
"$python" -m venv "$tools"
"$tools/bin/python" -m pip install --quiet --disable-pip-version-check pip-tools==7.6.2
"$tools/bin/pip-compile" --quiet --extra dev --extra docs --generate-hashes --strip-extras --allow-unsafe \
    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
    --output-file constraints.txt "$@" pyproject.toml
