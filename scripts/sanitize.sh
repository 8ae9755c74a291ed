#!/usr/bin/env bash
# Runs the Rust tests under the address sanitizer (with leaks) and the thread sanitizer, what crosses
# threads under loom, and the tests of tasks under valgrind (memcheck). Needs a nightly toolchain, and
# valgrind. With the component rust-src the standard library is instrumented as well, which the thread
# sanitizer cannot do without: it would take every lock of the standard library for a race.
#
# usage: scripts/sanitize.sh [address] [thread] [loom] [valgrind]     (all, if none is named)
set -euo pipefail
cd "$(dirname "$0")/.."

toolchain=${SANITIZE_TOOLCHAIN:-nightly}
if ! sysroot=$(rustc "+$toolchain" --print sysroot 2>/dev/null); then
    echo "sanitize: there is no $toolchain toolchain (rustup toolchain install nightly --component rust-src)" >&2
    exit 1
fi
host=$(rustc "+$toolchain" -vV | sed -n 's/^host: //p')
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
[ -d "$sysroot/lib/rustlib/src/rust/library" ] && has_source=yes || has_source=no
skipped=()
memcheck="valgrind --quiet --error-exitcode=97 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite"
of_tasks=(--test tasks --test cancellation)

sanitizer() { # name
    local flags="-Zsanitizer=$1" build_std=()
    # Memory that is kept for the next task is not freed, and what uses it still would not be seen. The thread sanitizer
    # is to see that it goes from task to task.
    [ "$1" = address ] && flags+=" --cfg roundel_frees"
    if [ "$has_source" = yes ]; then
        build_std=(-Zbuild-std)
    else
        flags+=" -Cunsafe-allow-abi-mismatch=sanitizer"
    fi
    echo "sanitize: $1, ${build_std[*]:-standard library not instrumented}"
    # The target is named so that build scripts are not instrumented. Doc tests are left out: rustdoc
    # builds each as a program of its own. So are the examples, whose programs --tests does not build (`twin`).
    RUSTFLAGS="$flags" CARGO_TARGET_DIR="$target/sanitize-$1" \
        cargo "+$toolchain" test "${build_std[@]}" --target "$host" \
        --package roundel-core --package roundel --lib --tests -- --skip twin
}

for what in "${@:-address thread loom valgrind}"; do
    for one in $what; do
        case $one in
            address)
                ASAN_OPTIONS=detect_leaks=1 sanitizer address
                ;;
            thread)
                if [ "$has_source" = yes ]; then
                    TSAN_OPTIONS=halt_on_error=1 sanitizer thread
                else
                    skipped+=("thread (rust-src is not installed for $toolchain)")
                fi
                ;;
            loom)
                echo "sanitize: loom"
                RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR="$target/loom" \
                    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
                    cargo test --release --package roundel-core --package roundel --test loom_inbox --test loom_task
                ;;
            valgrind)
                if command -v valgrind >/dev/null; then
                    echo "sanitize: valgrind"
                    RUSTFLAGS="--cfg roundel_frees" CARGO_TARGET_DIR="$target/sanitize-valgrind" \
                        CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$memcheck" \
                        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="$memcheck" \
                        cargo test --package roundel "${of_tasks[@]}"
                else
                    skipped+=("valgrind (not installed)")
                fi
                ;;
            *)
                echo "sanitize: what is $one?" >&2
                exit 2
                ;;
        esac
    done
done

for one in "${skipped[@]}"; do
    echo "sanitize: skipped: $one"
done
