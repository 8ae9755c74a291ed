#!/bin/sh
# Names the Python interpreters on this machine that roundel supports, one line each: VERSION PATH.
#
#     scripts/pythons.sh              every supported version found, oldest first
#     scripts/pythons.sh 3.12 3.13    only these
#
# A name on PATH counts only when it runs and is the version that it claims to be: a version
# manager's shim answers `command -v` also when nothing stands behind it. The manager itself is
# asked too, because its shims run only the versions that are switched on.

answers() { # VERSION COMMAND: the interpreter's real path, when it runs, is that version, and has venv
    "$2" -c 'import sys, venv, ensurepip
if "%d.%d" % sys.version_info[:2] != sys.argv[1] or sys.implementation.name != "cpython": sys.exit(1)
print(sys.executable)' "$1" 2>/dev/null
}

find_one() { # VERSION
    for command in "python$1" python3 python; do
        answers "$1" "$command" && return
    done
    if command -v pyenv >/dev/null 2>&1; then
        newest=$(pyenv versions --bare 2>/dev/null | grep -E "^$1\.[0-9]+$" | sort -t. -k3 -n | tail -1)
        [ -n "$newest" ] && answers "$1" "$(pyenv prefix "$newest" 2>/dev/null)/bin/python" && return
    fi
    return 1
}

[ $# -gt 0 ] || set -- 3.11 3.12 3.13 3.14
found=1
for version in "$@"; do
    path=$(find_one "$version") && { echo "$version $path"; found=0; }
done
exit $found
