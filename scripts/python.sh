#!/bin/sh
# Prints the path of a working interpreter of the given version of Python, like 3.13; exit code 1 if there is none.
# A command of pyenv that is on the path works only while its version is selected, so it is run to find out.
for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1"*/bin/python; do
    "$candidate" -c 'import sys; print(sys.executable)' 2>/dev/null && exit 0
done
echo "error: no Python $1 here" >&2
exit 1
