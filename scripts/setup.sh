#!/bin/sh
# Makes the environment $VENV from the lock for its Python, constraints.txt or constraints-3.13.txt: exact versions,
# every file checked against its hash. PYTHON names the interpreter; without it, it is the first of python3, python3.13,
# python3.12 and python3.11 that is new enough.
set -eu
cd "$(dirname "$0")/.."
venv=${VENV:-.venv}
stamp=$venv/.installed

stop() {
    echo "error: $1" >&2
    exit 2
}

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

if [ -n "${PYTHON:-}" ]; then
    command -v "$PYTHON" >/dev/null 2>&1 || stop "PYTHON=$PYTHON is not a command"
    new_enough "$PYTHON" || stop "PYTHON=$PYTHON is $("$PYTHON" -V 2>&1); ssm_bench needs Python 3.11 or newer"
    python=$PYTHON
else
    python=
    for candidate in python3 python3.13 python3.12 python3.11; do
        if command -v $candidate >/dev/null 2>&1 && new_enough $candidate; then
            python=$candidate
            break
        fi
    done
    [ -n "$python" ] ||
        stop "python3 is $(python3 -V 2>&1 || echo missing); ssm_bench needs Python 3.11 or newer, say where with PYTHON=/path/to/python3"
fi
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    stop "$python cannot make virtual environments; install its venv module (python3-venv on Debian and Ubuntu)"

# From here on the environment is unfinished until the last line.
rm -f "$stamp"
if [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ] && [ -n "$(ls -A "$venv")" ]; then
    stop "VENV=$venv holds other files; name a new folder or one made by python -m venv"
fi
# A broken environment, or one made by an older Python or another one than was asked for, is made again.
wanted=$("$python" -c 'import sys; print(*sys.version_info[:2])')
found=$("$venv/bin/python" -m pip --version >/dev/null 2>&1 &&
    "$venv/bin/python" -c 'import sys; print(*sys.version_info[:2])' 2>/dev/null || echo none)
[ "$found" = "$wanted" ] || "$python" -m venv --clear "$venv"

echo "installing into $venv, once; about a minute" >&2
# Modules are compiled when they are first imported. Where Python may not write what it compiles, every process would
# compile anew, which takes seconds: there they are compiled below, in parallel.
lock=constraints.txt
if "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 13))'; then
    lock=constraints-3.13.txt
fi
install="$venv/bin/python -m pip install -qq --disable-pip-version-check --no-compile"
$install --require-hashes --requirement "$lock"
$install --no-deps --no-build-isolation --editable .
if [ -n "${PYTHONDONTWRITEBYTECODE:-}" ]; then
    # Some packages hold templates and files for other versions of Python, which do not compile.
    "$venv/bin/python" -m compileall -q -j 0 "$venv"/lib/python3*/site-packages >/dev/null 2>&1 || true
fi
touch "$stamp"
