#!/usr/bin/env bash
# That a free-threaded Python is refused, in words, on every way to it.
#
#     scripts/refused.sh PYTHON      PYTHON: a free-threaded interpreter (3.13t, 3.14t) with venv and pip
#
# Tried in an environment of its own under target/: to import the package, with no extension and with the one of an
# ordinary Python under this one's name; to install an ordinary wheel from dist/, if there is one; to compile.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${1:?which interpreter?}
"$python" -c 'import sys; sys.exit("t" not in sys.abiflags)' || {
    echo "$python is not free-threaded" >&2
    exit 2
}
where=$(mktemp -d)
trap 'rm -rf "$where"' EXIT
"$python" -m venv "$where/venv"
python=$where/venv/bin/python

refused() { # TITLE WORDS COMMAND...: it fails, and says these words
    local title=$1 words=$2
    shift 2
    if "$@" >"$where/output" 2>&1; then
        echo "NOT REFUSED: $title"
        exit 1
    fi
    grep -qE "$words" "$where/output" || {
        echo "REFUSED WITHOUT A WORD OF IT: $title"
        tail -20 "$where/output"
        exit 1
    }
    echo "refused: $title: $(grep -oE "$words" "$where/output" | tail -1)"
}

mkdir "$where/package"
cp -r python/roundel "$where/package/"
rm -f "$where"/package/roundel/*.so
words='roundel does not support free-threaded Python'
refused "import" "ImportError: $words" env PYTHONPATH="$where/package" "$python" -c 'import roundel'
refused "the command" "ImportError: $words" env PYTHONPATH="$where/package" "$python" -m roundel --version

suffix=$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
ordinary=$(find python/roundel -name '*.so' -print -quit)
if [ -n "$ordinary" ]; then
    cp "$ordinary" "$where/package/roundel/_roundel$suffix"
    refused "import with an ordinary extension" "ImportError: $words" \
        env PYTHONPATH="$where/package" "$python" -c 'import roundel'
fi

wheel=$(find dist -name '*.whl' -print -quit 2>/dev/null || true)
if [ -n "$wheel" ]; then
    refused "an ordinary wheel" 'is not a supported wheel on this platform' \
        "$python" -m pip install --disable-pip-version-check --no-index --no-deps "$wheel"
else
    echo "not tried: an ordinary wheel (make wheel puts one into dist/)"
fi

# Which one speaks depends on which is compiled first, and on whether pyo3 knows the version.
refused "to compile" "$words|PyO3 does not support the free-threaded build[^,]*" \
    "$python" -m pip install --disable-pip-version-check --no-deps .
