#!/usr/bin/env bash
# The tests of the probe's hooks, on an extension that is built with a probe that writes down what happens.
#
# Usage: scripts/observe.sh PYTHON. The extension goes into a package of its own under target/, beside the one that is
# installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=$(realpath -s "${1:?usage: scripts/observe.sh PYTHON}")
target=${CARGO_TARGET_DIR:-$PWD/target}
package=$target/observe-package/roundel

PYO3_PYTHON=$python PYO3_BUILD_EXTENSION_MODULE=1 cargo build --package roundel-py --features observe \
    --target-dir "$target/observe"
rm -rf "$package" && mkdir -p "$package"
cp -r python/roundel/*.py "$package"
cp "$target/observe/debug/lib_roundel.so" "$package/_roundel.so"
PYTHONPATH=$(dirname "$package") ROUNDEL_TESTS_REQUIRE=1 "$python" -m pytest tests/observe "${@:2}"
