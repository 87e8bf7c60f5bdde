#!/usr/bin/env bash
# Runs TAYGA between an IPv4 client and an IPv6 server in namespaces of its own, sends real traffic through it, and captures
# both of its sides, which are one interface.
#
#   capture.sh DIRECTORY      leaves tayga.conf and tun.pcapng there
#
# Needs root, tayga, dumpcap (tshark), ping and python3. Everything it starts ends with it.
set -euo pipefail

[ $# -eq 1 ] || { sed -n '2,7p' "$0" >&2; exit 2; }
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$1"
N=tayga$$
PIDS=()

# shellcheck disable=SC2317  # called by the trap
end() {
    for pid in "${PIDS[@]}"; do kill "$pid" 2>/dev/null || true; done
    for role in c t s; do ip netns del "$N$role" 2>/dev/null || true; done
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

in_ns() { ip netns exec "$N$1" "${@:2}"; }
wait_for() {
    for _ in $(seq 150); do
        if "$@"; then return; fi
        sleep 0.1
    done
    echo "capture.sh: nothing after 15 s: $*" >&2
    exit 1
}

cat >tayga.conf <<-TEXT
	tun-device nat64
	ipv4-addr 192.0.2.254
	ipv6-addr 2001:db8:ff::254
	prefix 2001:db8:46::/96
	map 192.0.2.1 2001:db8:12:34::1
	map 192.0.2.2 2001:db8:12:34::2
TEXT

for role in c t s; do
    ip netns add "$N$role"
    ip -n "$N$role" link set lo up
done
ip -n "${N}c" link add e0 type veth peer name e0 netns "${N}t"
ip -n "${N}s" link add e0 type veth peer name e1 netns "${N}t"
ip -n "${N}c" addr add 203.0.113.2/24 dev e0
ip -n "${N}t" addr add 203.0.113.1/24 dev e0
ip -n "${N}s" addr add 2001:db8:12:34::1/64 dev e0 nodad
ip -n "${N}s" addr add 2001:db8:12:34::2/64 dev e0 nodad
ip -n "${N}t" addr add 2001:db8:12:34::ffff/64 dev e1 nodad
for end in "c e0" "t e0" "t e1" "s e0"; do
    ip -n "$N${end% *}" link set "${end#* }" up
done
# Segments must not grow in the kernel on their way.
for end in "c e0" "t e0" "t e1" "s e0"; do
    in_ns "${end% *}" ethtool -K "${end#* }" tso off gso off gro off tx off >/dev/null 2>&1 || true
done
ip -n "${N}c" route add default via 203.0.113.1
ip -n "${N}s" -6 route add default via 2001:db8:12:34::ffff
in_ns t sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
in_ns t tayga --config "$PWD/tayga.conf" --mktun >tayga.log
ip -n "${N}t" link set nat64 up
ip -n "${N}t" route add 192.0.2.0/24 dev nat64
ip -n "${N}t" -6 route add 2001:db8:46::/96 dev nat64
ip -n "${N}t" -6 route add 2001:db8:ff::254 dev nat64

ip netns exec "${N}t" tayga --config "$PWD/tayga.conf" --nodetach >>tayga.log 2>&1 &
PIDS+=($!)
ip netns exec "${N}t" dumpcap -q -i nat64 -w tun.pcapng >dumpcap.log 2>&1 &
CAPTURE=$!
PIDS+=("$CAPTURE")
ip netns exec "${N}s" python3 "$HERE/traffic.py" server >server.log 2>&1 &
PIDS+=($!)
wait_for grep -q ready server.log
wait_for test -s tun.pcapng
wait_for in_ns c ping -q -c 1 -W 1 192.0.2.1 >/dev/null

# Whole, cut, and refused; both ways; between two mapped hosts, which TAYGA does not serve.
in_ns c ping -q -c 3 -i 0.2 192.0.2.1
in_ns c ping -q -c 1 -W 2 -s 1400 -M dont 192.0.2.1
in_ns c ping -q -c 1 -W 1 -s 1472 -M "do" 192.0.2.1 || true
in_ns s ping -q -c 3 -i 0.2 -I 2001:db8:12:34::1 2001:db8:46::203.0.113.2
in_ns s ping -q -c 1 -W 1 -I 2001:db8:12:34::1 2001:db8:46::192.0.2.2 || true
in_ns s ping -q -c 1 -W 1 -t 2 -I 2001:db8:12:34::1 2001:db8:46::203.0.113.2 || true
in_ns c python3 "$HERE/traffic.py" client 192.0.2.1
sleep 0.5
kill -INT "$CAPTURE"
wait "$CAPTURE" || true
