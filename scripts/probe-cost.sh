#!/usr/bin/env bash
# Counts what the probe's hooks cost when nobody observes: the instructions of one workload, built with
# the hooks' calls and the probe `()`, and built without the calls. They may differ by 0.1 %.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v valgrind >/dev/null; then
    echo "probe-cost: valgrind is not installed" >&2
    exit 1
fi

target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

count() { # name, cargo's arguments
    local name=$1
    shift
    echo "probe-cost: building $name ..." >&2
    cargo build --quiet --release --package roundel-core --example probe_cost "$@"
    cp "$target/release/examples/probe_cost" "$results/$name"
    echo "probe-cost: counting $name ..." >&2
    valgrind --tool=callgrind --callgrind-out-file="$results/$name.out" "$results/$name" 2>"$results/$name.log" ||
        { cat "$results/$name.log" >&2; exit 1; }
    awk '/^summary:|^totals:/ { print $2; exit }' "$results/$name.out"
}

with=$(count with-calls)
without=$(count without-calls --features no-probe-calls)

awk -v with="$with" -v without="$without" 'BEGIN {
    difference = 100 * (with - without) / without
    printf "instructions, hooks called on (): %14d\n", with
    printf "instructions, no calls at all:    %14d\n", without
    printf "difference:                       %13.4f%%\n", difference
    if (difference > 0.1 || difference < -0.1) {
        print "probe-cost: the empty probe is not free"
        exit 1
    }
}'
