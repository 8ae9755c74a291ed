#!/usr/bin/env bash
# Runs the Python tests on the extension with the tools that see what a test cannot: a pointer used
# after its object is gone, a write past an end, a block that nobody frees.
#
#   address   The extension compiled with the address sanitizer; memory of the interpreter comes from
#             malloc, so that the sanitizer sees Python objects too. The extensions on the bridge, of the
#             tests and of the examples, are compiled so as well. At the end, leaks whose stack
#             goes through our code, other than what importing the module keeps for good.
#   stress    The interpreter's own debug allocator, and a collection at every
#             allocation that can start one: objects meet the collector at every point of their life.
#   valgrind  memcheck over a minute of scripts/soak.py, for what happens inside the interpreter on our
#             behalf. Slow; the tests' own guards against hangs would break it off.
#
# usage: scripts/sanitize-python.sh [address] [stress] [valgrind] [-- TESTS...]   (address and stress, if none is named)
#
# PYTHON is the interpreter (it needs pytest and hypothesis), SANITIZE_TOOLCHAIN the Rust toolchain
# of `address`. What is missing is skipped, and said. Memory that grows is not looked for here: the
# sanitizers keep freed memory aside. tests/test_leaks.py and scripts/soak.py do that.
set -uo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-.venv/bin/python}
toolchain=${SANITIZE_TOOLCHAIN:-nightly}
what=() tests=()
while [ $# -gt 0 ]; do
    case $1 in
        address | stress | valgrind) what+=("$1") ;;
        --) shift; tests=("$@"); break ;;
        *) echo "sanitize-python: what is $1?" >&2; exit 2 ;;
    esac
    shift
done
[ ${#what[@]} -gt 0 ] || what=(address stress)

python=$(realpath -s "$python")
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
suffix=$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))') || exit 1
skipped=() failed=()

# What starts other interpreters is left out (they would all be slow, and load the same extension),
# and so is what measures memory.
narrow() { # the tests that every tool can run
    if [ ${#tests[@]} -gt 0 ]; then
        printf '%s\n' "${tests[@]}"
    else
        for file in tests/test_*.py tests/bridge/test_*.py; do
            case $file in
                */test_cli*.py | */test_examples.py | */test_package.py | */test_install.py) ;;
                */test_fork_threads.py) ;;
                *) echo "$file" ;;
            esac
        done
    fi
}
only="roundel and not test_leaks and not million"

place() { # NAME LIBRARY: a copy of the package with this build of the extension
    rm -rf "$target/sanitize-python/$1"
    mkdir -p "$target/sanitize-python/$1"
    cp -r python/roundel "$target/sanitize-python/$1/roundel"
    rm -f "$target/sanitize-python/$1/roundel/"*.so
    cp "$2" "$target/sanitize-python/$1/roundel/_roundel$suffix"
    realpath "$target/sanitize-python/$1"
}

plain() { # the extension as `make develop` compiles it
    CARGO_TARGET_DIR="$target" PYO3_PYTHON=$python PYO3_BUILD_EXTENSION_MODULE=1 \
        cargo build --quiet --package roundel-py || return 1
    place plain "$target/debug/lib_roundel.so"
}

run_tests() { # COMMAND...: the interpreter and its options, with the tests behind
    mapfile -t files < <(narrow)
    PYTHONDONTWRITEBYTECODE=1 ROUNDEL_TESTS_REQUIRE=1 \
        "$@" -p no:cacheprovider -q -k "$only" "${files[@]}"
}

address() {
    local library host built package extension log passed=yes
    if ! rustc "+$toolchain" --version >/dev/null 2>&1; then
        skipped+=("address (no $toolchain toolchain)")
        return 0
    fi
    # The runtime must be the first library of the process, so it is a shared one: gcc's, which speaks
    # the same version of the interface as Rust's.
    library=$(gcc -print-file-name=libasan.so 2>/dev/null)
    if [ ! -e "$library" ]; then
        skipped+=("address (gcc has no libasan.so)")
        return 0
    fi
    host=$(rustc "+$toolchain" -vV | sed -n 's/^host: //p')
    RUSTFLAGS="-Zsanitizer=address -Cunsafe-allow-abi-mismatch=sanitizer --cfg roundel_frees" \
        CARGO_TARGET_DIR="$target/sanitize-python/target" PYO3_PYTHON=$python PYO3_BUILD_EXTENSION_MODULE=1 \
        cargo "+$toolchain" build --quiet --package roundel-py --package roundel-bridge-probe \
        --package roundel-example-kv --target "$host" || return 1
    built=$target/sanitize-python/target/$host/debug
    package=$(place address "$built/lib_roundel.so")
    for extension in bridge_probe kv; do
        cp "$built/lib$extension.so" "$package/$extension$suffix"
    done
    log=$package/report
    # Frames of the interpreter have no frame pointers: the slow way of unwinding finds ours above them.
    PYTHONPATH=$package PYTHONMALLOC=malloc LD_PRELOAD=$library \
        ASAN_OPTIONS="detect_leaks=1:fast_unwind_on_malloc=0:malloc_context_size=40:log_path=$log:exitcode=0" \
        run_tests "$python" -m pytest || passed=no
    "$python" - "$log" <<'READ'
import glob, re, sys

bad = 0
for name in glob.glob(sys.argv[1] + ".*"):
    text = open(name, errors="replace").read()
    for block in re.split(r"\n(?=(?:==\d+==ERROR|Direct leak|Indirect leak))", text):
        leak = block.startswith(("Direct leak", "Indirect leak"))
        # What Python code allocates is not ours because a callback of ours runs it.
        nearest = block.split("_PyEval_EvalFrameDefault")[0]
        ours = any(f"crates/{crate}/src" in nearest for crate in ("py", "core", "bridge", "roundel"))
        if leak and (not ours or "module_exec" in nearest):
            continue  # the interpreter's, or the tables of a class, which live as long as the class
        if leak or "ERROR: AddressSanitizer" in block:
            bad += 1
            print("\n".join(block.splitlines()[:40]), end="\n\n")
print(f"sanitize-python: address: {bad} reports")
sys.exit(bad > 0)
READ
    [ $? -eq 0 ] && [ $passed = yes ]
}

stress() {
    local package
    package=$(plain) || return 1
    PYTHONPATH=$package PYTHONMALLOC=debug run_tests "$python" -X faulthandler -c '
import gc, sys, pytest
gc.set_threshold(1)
sys.exit(pytest.main(sys.argv[1:]))'
}

valgrind_() {
    local package log
    if ! command -v valgrind >/dev/null; then
        skipped+=("valgrind (not installed)")
        return 0
    fi
    package=$(plain) || return 1
    log=$package/valgrind.log
    # Only blocks that are lost for sure: the interpreter itself keeps much to its end.
    PYTHONPATH=$package PYTHONMALLOC=malloc valgrind --log-file="$log" --num-callers=30 \
        --leak-check=full --show-leak-kinds=definite "$python" scripts/soak.py --minutes 1 --seed 1 || return 1
    "$python" - "$log" <<'READ'
import re, sys

bad = 0
text = re.sub(r"(?m)^==\d+== ?", "", open(sys.argv[1], errors="replace").read())
for block in text.split("\n\n"):
    # What Python code allocates is not ours because a callback of ours runs it.
    block = block.split("_PyEval_EvalFrameDefault")[0]
    if not re.search(r"\n +(at|by) 0x.*roundel", block) or "module_exec" in block:
        continue
    bad += 1
    print(block, end="\n\n")
print(f"sanitize-python: valgrind: {bad} reports")
sys.exit(bad > 0)
READ
}

for one in "${what[@]}"; do
    echo "sanitize-python: $one"
    case $one in
        valgrind) valgrind_ || failed+=("$one") ;;
        *) "$one" || failed+=("$one") ;;
    esac
done
for one in ${skipped[@]+"${skipped[@]}"}; do
    echo "sanitize-python: skipped: $one"
done
for one in ${failed[@]+"${failed[@]}"}; do
    echo "sanitize-python: FAILED: $one"
done
[ ${#failed[@]} -eq 0 ]
