#!/usr/bin/env bash
# A Python that the system has not got, 3.14 or 3.15: Debian's, in a root folder that debootstrap makes under target/.
#
#     scripts/debian_python.sh VERSION make               make the folder, if it is not there (a minute, half a gigabyte)
#     scripts/debian_python.sh VERSION run COMMAND ...    run a command in it, with the checkout in its usual place
#     scripts/debian_python.sh VERSION build              compile for it, and make an environment with the tests' packages
#     scripts/debian_python.sh VERSION test               the same, then run pytest and CPython's suite
#     scripts/debian_python.sh VERSION remove             remove it
#
# The extension is compiled outside, by the system's cargo, and asks the interpreter inside how to. Mounts are made in
# a namespace of the command's own and end with it, whatever becomes of it. Status 3: it cannot be had here; the
# reason is printed. DEBIAN_SUITE and DEBIAN_MIRROR choose where it comes from, DEBIAN_CARGO_TARGET where it is compiled,
# PROFILE how.
set -euo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
usage() {
    sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
    exit 2
}

version=${1:-}
[ $# -gt 0 ] && shift
case $version in
    3.14) suite=forky ;;
    3.15) suite=sid ;;
    *) usage ;;
esac
suite=${DEBIAN_SUITE:-$suite}
root=$checkout/target/python$version-root
venv=/opt/roundel
wanted=python$version,python$version-dev,python$version-venv,libpython$version-testsuite,ca-certificates

cannot() {
    echo "Python $version cannot be had here: $1" >&2
    exit 3
}

mirror() { # The one that this system's own packages come from
    local own
    own=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
        grep -Eo 'https?://[^ ]+/debian/?( |$)' | head -1 | tr -d ' ') || true
    echo "${DEBIAN_MIRROR:-$own}"
}

make_root() {
    [ -x "$root/usr/bin/python$version" ] && return
    [ "$(uname -s)" = Linux ] || cannot "root folders are Linux's"
    [ "$(id -u)" = 0 ] || cannot "making a root folder needs root"
    unshare --mount true 2>/dev/null || cannot "mounts are not allowed here"
    if ! command -v debootstrap >/dev/null; then
        command -v apt-get >/dev/null || cannot "there is no debootstrap and no apt-get to install it with"
        echo "installing debootstrap ..."
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap; } \
            >/dev/null 2>&1 || cannot "apt-get could not install debootstrap"
    fi
    [ -n "$(mirror)" ] || cannot "this system names no mirror of Debian's: set DEBIAN_MIRROR"
    echo "Python $version from Debian's $suite into ${root#"$checkout"/} ..."
    rm -rf "$root.part"
    mkdir -p "$root.part"
    # An older debootstrap does not know the suite's name, but the way they are all made.
    if ! debootstrap --variant=minbase --include="$wanted" "$suite" "$root.part" "$(mirror)" \
        /usr/share/debootstrap/scripts/sid >"$checkout/target/debootstrap.log" 2>&1; then
        tail -3 "$checkout/target/debootstrap.log" >&2
        rm -rf "$root.part"
        cannot "debootstrap failed (target/debootstrap.log)"
    fi
    mkdir -p "$root.part$checkout"
    mv "$root.part" "$root"
}

run_in_root() { # COMMAND ...
    ROOT=$root CHECKOUT=$checkout WHERE=$PWD exec unshare --mount --fork sh -c '
        mount --make-rprivate / &&
        mount -t proc proc "$ROOT/proc" &&
        mount --rbind /dev "$ROOT/dev" &&
        mount --bind "$CHECKOUT" "$ROOT$CHECKOUT" || exit 3
        exec chroot "$ROOT" env -u ROOT -u CHECKOUT -u WHERE HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin \
            sh -c '\''cd "$0" 2>/dev/null || cd /; exec "$@"'\'' "$WHERE" "$@"' sh "$@"
}

build_for_root() {
    cd "$checkout"
    local inside=(scripts/debian_python.sh "$version" run) interpreter=$checkout/target/python$version
    local target=${DEBIAN_CARGO_TARGET:-$checkout/target/python$version-cargo} profile=${PROFILE:-dev} suffix
    if [ ! -x "$root$venv/bin/pytest" ]; then
        # pip goes to the network as the system around does.
        cp -L /etc/resolv.conf "$root/etc/resolv.conf"
        [ -f /etc/ssl/certs/ca-certificates.crt ] && cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
        "${inside[@]}" "python$version" -m venv $venv
        "${inside[@]}" $venv/bin/python -m pip install --disable-pip-version-check --progress-bar off --quiet --group test
    fi
    printf '#!/bin/sh\nexec "%s" %s run python%s "$@"\n' "$checkout/scripts/debian_python.sh" "$version" "$version" \
        >"$interpreter"
    chmod +x "$interpreter"
    # cargo and not maturin, which would take the interpreter's own path, and that is one inside the root folder.
    PYO3_PYTHON=$interpreter PYO3_BUILD_EXTENSION_MODULE=1 CARGO_TARGET_DIR=$target \
        cargo build --package roundel-py --package roundel-example-kv --package roundel-bridge-probe --profile "$profile"
    suffix=$("${inside[@]}" "python$version" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
    # Put there whole: a process may have the one before mapped.
    cp "$target/${profile/#dev/debug}/lib_roundel.so" "python/roundel/_roundel$suffix.part"
    mv "python/roundel/_roundel$suffix.part" "python/roundel/_roundel$suffix"
    mkdir -p "$(extensions)"
    for name in kv bridge_probe; do
        cp "$target/${profile/#dev/debug}/lib$name.so" "$(extensions)/$name$suffix"
    done
}

extensions() { # where those are that the tests import beside roundel
    echo "$checkout/target/python$version-extensions"
}

test_in_root() {
    build_for_root
    local inside=(scripts/debian_python.sh "$version" run)
    inside+=(env "PYTHONPATH=$checkout/python:$(extensions)" ROUNDEL_TESTS_REQUIRE=1)
    # shellcheck disable=SC2086  # several options
    "${inside[@]}" $venv/bin/python -m pytest -p no:cacheprovider ${PYTEST:-}
    "${inside[@]}" $venv/bin/python -m tests.cpython
}

command=${1:-}
[ $# -gt 0 ] && shift
case $command in
    make) make_root ;;
    run) make_root && run_in_root "$@" ;;
    build) make_root && build_for_root ;;
    test) make_root && test_in_root ;;
    remove) rm -rf "$root" "$root.part" ;;
    *) usage ;;
esac
