# shellcheck shell=bash disable=SC2034
# What the scripts share. Sourced, never run.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# What building needs, and what the laboratory needs besides (Debian 12 and later).
BUILD_PACKAGES=(build-essential pkg-config clang libclang-dev libdpdk-dev ca-certificates curl)
DEMO_PACKAGES=(nginx-light iproute2 iputils-ping traceroute ethtool nftables procps util-linux)
# What the data centre of scripts/lab runs besides: routing daemons, a mail and an FTP server, a DHCP client.
LAB_PACKAGES=(bird2 frr vsftpd python3-aiosmtpd udhcpc)

if [ -t 1 ]; then
    BOLD=$'\e[1m' GREEN=$'\e[32m' RED=$'\e[31m' PLAIN=$'\e[0m'
else
    BOLD='' GREEN='' RED='' PLAIN=''
fi

heading() { printf '\n%s%s%s\n' "$BOLD" "$*" "$PLAIN"; }
good() { printf '  %s+%s %s\n' "$GREEN" "$PLAIN" "$*"; }
note() { printf '    %s\n' "$*"; }

fail() {
    printf '%sFAILED:%s %s\n' "$RED" "$PLAIN" "$*" >&2
    exit 1
}

is_root() { [ "$(id -u)" -eq 0 ]; }

# Installs those of the given packages that are missing. Daemons among them are not started: the packages are wanted
# for programs that the laboratory runs in its own namespaces.
install_packages() {
    local package policy=/usr/sbin/policy-rc.d ours='' status=0
    local -a missing=()
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    is_root || fail "root is needed to install: ${missing[*]}"
    note "installing ${missing[*]}"
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        ours=yes
    fi
    {
        DEBIAN_FRONTEND=noninteractive apt-get -q update &&
            DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}"
    } >"${TMPDIR:-/tmp}/borderline-apt.log" 2>&1 || status=$?
    [ -z "$ours" ] || rm -f "$policy"
    if [ "$status" -ne 0 ]; then
        tail -n 15 "${TMPDIR:-/tmp}/borderline-apt.log" >&2
        fail "apt-get could not install: ${missing[*]}"
    fi
    rm -f "${TMPDIR:-/tmp}/borderline-apt.log"
}

# Whether a cargo is there that is at least as new as the workspace wants.
has_cargo() {
    local have want
    have=$(cd "$ROOT" && cargo --version 2>/dev/null | cut -d' ' -f2) || return 1
    want=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml")
    [ -n "$have" ] && printf '%s\n%s\n' "$want" "$have" | sort -V -C
}

# Puts cargo on the path, by way of rustup if there is none. The toolchain itself comes from rust-toolchain.toml.
install_rust() {
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    export PATH
    has_cargo && return 0
    note "installing a Rust toolchain with rustup"
    if ! command -v rustup >/dev/null; then
        curl -sSf --proto '=https' --tlsv1.2 https://sh.rustup.rs |
            sh -s -- -y -q --no-modify-path --profile minimal --default-toolchain none >/dev/null ||
            fail "rustup could not be installed; install Rust by hand: https://rustup.rs"
    fi
    # The first call of cargo in the repository would do the same, but not every rustup does it unasked.
    (cd "$ROOT" && { rustup show active-toolchain || rustup toolchain install; }) >/dev/null 2>&1 || true
    has_cargo || fail "no usable Rust toolchain, even after rustup"
}

# Keeps the kernel of a namespace from hearing frames on an interface that belongs to a DPDK driver: otherwise it
# answers ARP and pings a second time. Packet sockets and XDP come before this hook and still see every frame.
deafen() {
    local namespace=$1 interface=$2
    ip netns exec "$namespace" sysctl -qw "net.ipv6.conf.$interface.disable_ipv6=1" \
        "net.ipv4.conf.$interface.arp_ignore=8" "net.ipv4.conf.$interface.rp_filter=1"
    ip netns exec "$namespace" nft -f - 2>/dev/null <<-RULES && return 0
	table netdev deaf {
	    chain $interface {
	        type filter hook ingress device $interface priority -500; policy drop;
	    }
	}
	RULES
    tc -n "$namespace" qdisc add dev "$interface" clsact 2>/dev/null &&
        tc -n "$namespace" filter add dev "$interface" ingress matchall action drop 2>/dev/null
}

# Real frames only, as from a network card: checksums computed, nothing larger than the MTU. A veth end otherwise
# leaves both to the other end, which here is not the kernel.
plain_frames() {
    ip netns exec "$1" ethtool -K "$2" tx-checksum-ip-generic off tso off gso off gro off >/dev/null
}

# Whether a process runs; one that has ended but was not waited for does not.
is_alive() { grep -q '^State:[[:space:]]*[^ZX]' "/proc/$1/status" 2>/dev/null; }

# Ends a process that runs in the given namespace, and no other that may have got its number since.
end_process() {
    local namespace=$1 pid=$2 signal=${3:-TERM}
    [ "$(ip netns identify "$pid" 2>/dev/null)" = "$namespace" ] || return 0
    kill "-$signal" "$pid" 2>/dev/null || return 0
    for _ in $(seq 60); do
        is_alive "$pid" || return 0
        sleep 0.05
    done
    kill -KILL "$pid" 2>/dev/null || true
}

# Removes a namespace and what still runs in it.
remove_namespace() {
    local pid
    for pid in $(ip netns pids "$1" 2>/dev/null); do
        kill -KILL "$pid" 2>/dev/null || true
    done
    ip netns del "$1" 2>/dev/null || true
}

# Removes the namespaces of laboratory tests whose process is gone (killed, not ended).
sweep_test_namespaces() {
    local name pid
    ip netns list 2>/dev/null | cut -d' ' -f1 | while read -r name; do
        pid=$(expr "$name" : 'bl\([0-9][0-9]*\)-' || true)
        [ -z "$pid" ] || [ -d "/proc/$pid" ] || remove_namespace "$name"
    done
}
