# shellcheck shell=bash disable=SC2034
# A VRF for each port: bl-v4 in red (table 10), bl-v6 in blue (table 20), VLAN 30 of bl-v4 in green (table 30). A third port, in no
# VRF, leads to hosts with the addresses of the second, which cannot answer: who gets an answer was forwarded by the right table.

hosts() {
    local name
    for name in client relay server other; do
        add_namespace "$name"
    done
    wire client c4 relay r4 1500
    wire server s6 relay r6 1520
    wire other o6 relay r7 1520
    ip -n client addr add 203.0.113.50/24 dev c4
    ip -n client route add default via 203.0.113.1
    ip -n client link add link c4 name c4.30 type vlan id 30
    ip -n client addr add 198.51.100.50/24 dev c4.30
    ip -n client link set c4.30 up
    ip -n server addr add 2001:db8:12:34::1/64 dev s6 nodad
    for name in server other; do
        ip -n "$name" addr add 2001:db8:77::1/128 dev lo
        ip -n "$name" addr add 2001:db8:78::1/128 dev lo
    done
    ip -n server route add 2001:db8:46::/96 via 2001:db8:12:34::ffff
    # No way back: what gets here is lost.
    ip -n other addr add 2001:db8:12:35::1/64 dev o6 nodad
    serve server '[::]'
    serve client 0.0.0.0
    cat >/tmp/vrf.toml <<-TOML
	[dpdk]
	workers = [1]
	memory = "no-huge"
	memory_mb = 256

	[[port]]
	name = "v4"
	device = "net_af_xdp0,iface=r4"
	mtu = 1500

	[[port]]
	name = "v6"
	device = "net_af_xdp1,iface=r6"
	mtu = 1520

	[[port]]
	name = "other"
	device = "net_af_xdp2,iface=r7"
	mtu = 1520

	[control]

	[translation]
	prefixes = ["2001:db8:46::/96"]
	service_pools = ["192.0.2.0/24"]

	[[eam]]
	ipv4 = "192.0.2.1"
	ipv6 = "2001:db8:12:34::1"

	[[eam]]
	ipv4 = "192.0.2.77"
	ipv6 = "2001:db8:77::1"

	[[eam]]
	ipv4 = "192.0.2.78"
	ipv6 = "2001:db8:78::1"
	TOML
}

# The VRFs, their interfaces, and then the addresses: an interface loses those of IPv6 when it enters a VRF.
twins() {
    {
        in_relay ip link add red up type vrf table 10 && in_relay ip link add blue up type vrf table 20 &&
            in_relay ip link add green up type vrf table 30 &&
            in_relay ip link add link bl-v4 name bl-v4.30 type vlan id 30 &&
            in_relay ip link set bl-v4 master red && in_relay ip link set bl-v6 master blue &&
            in_relay ip link set bl-v4.30 up master green
    } || return 1
    in_relay ip addr add 203.0.113.1/24 dev bl-v4
    in_relay ip addr add 198.51.100.1/24 dev bl-v4.30
    in_relay ip addr add 2001:db8:12:34::ffff/64 dev bl-v6 nodad
    in_relay ip addr add 2001:db8:12:35::ffff/64 dev bl-other nodad
}

# Each table has the way to the other side; the main one leads astray.
routes() {
    in_relay ip -6 route add table 10 2001:db8:12:34::/64 dev bl-v6 &&
        in_relay ip -6 route add table 10 2001:db8:77::/64 via 2001:db8:12:34::1 dev bl-v6 &&
        in_relay ip route add table 20 203.0.113.0/24 dev bl-v4 &&
        in_relay ip -6 route add 2001:db8:77::/64 via 2001:db8:12:35::1 dev bl-other &&
        in_relay ip -6 route add 2001:db8:78::/64 via 2001:db8:12:34::1 dev bl-v6
}

explains() {
    local text
    text=$(ctl explain --src "$1" --dst "$2") || return 1
    echo "$text"
    grep -q 'by which its source is reached' <<<"$text" && grep -q "$3" <<<"$text"
}

silent() { ! ip netns exec client ping -n -q -c 3 -i 0.3 -W 1 "$@"; }

isolated() {
    in_relay ip -6 route add table 10 unreachable default metric 4278198272 || return 1
    sleep 0.5
    silent 192.0.2.78 && answers client 192.0.2.77
}

moves() {
    in_relay ip route add table 30 unreachable default
    # Green has no way to the servers yet; then it gets one, and the client's address has to be found in it on the way back.
    silent -I 198.51.100.50 192.0.2.1
    in_relay ip -6 route add table 30 2001:db8:12:34::/64 dev bl-v6 &&
        in_relay ip route add table 20 198.51.100.0/24 dev bl-v4.30 &&
        within 5 ip netns exec client ping -n -q -c 1 -W 1 -I 198.51.100.50 192.0.2.1
}

leaves() {
    in_relay ip link set bl-v4 nomaster || return 1
    # IPv4 addresses stay. The main table leads to those who cannot answer.
    sleep 1
    silent 192.0.2.77 || return 1
    # The kernel takes an interface down and up between VRFs, and with that the routes over it from other tables.
    in_relay ip link set bl-v4 master red && in_relay ip route replace table 20 203.0.113.0/24 dev bl-v4 &&
        in_relay ip route replace table 20 198.51.100.0/24 dev bl-v4.30
    within 5 ip netns exec client ping -n -q -c 1 -W 1 192.0.2.77
}

told() {
    within 10 complains "$1" || return 1
    MEASURED=$(ctl status | grep -o "$1.*" | head -n 1 | cut -c1-120)
}

complains() { ctl status | grep "$1"; }

# The running relay has all that the check asks for, which it says too.
checked() {
    in_relay "$BINARIES/borderline" check --machine --config /tmp/vrf.toml 2>&1 | tee /dev/stderr | grep -q "$1"
}

rule_is_told() {
    in_relay ip rule add from 203.0.113.0/25 lookup 99 priority 200 || return 1
    told 'policy rules are not followed' && checked 'policy rules are not followed'
    local result=$?
    in_relay ip rule del priority 200
    return "$result"
}

bridge_is_told() {
    local result=0
    in_relay ip link add br0 up type bridge && in_relay ip link set bl-other master br0 || return 1
    told 'br0' || result=1
    in_relay ip link set bl-other nomaster
    in_relay ip link del br0
    return "$result"
}

only_vrfs() {
    within 10 healthy && ! ctl status | grep -q 'policy rules'
}

hosts
if check "relay starts" start_relay /tmp/vrf.toml; then
    check "a VRF for each twin, one for a VLAN" twins
    check "routes in the tables of the VRFs" routes
    sleep 1
    check "ping to IPv6, by the table of red" answers client 192.0.2.1
    check "ping to IPv4, by the table of blue" answers server 2001:db8:46::203.0.113.50
    check "HTTP to IPv6" fetches client 192.0.2.1
    check "HTTP to IPv4" fetches server '[2001:db8:46::203.0.113.50]'
    check "the relay itself answers inside of the VRF" answers client 203.0.113.1
    check "explain finds the port and the table of the VRF" explains 203.0.113.50 192.0.2.1 'table of the VRF of bl-v4'
    check "the VRF's route goes before that of the main table" answers client 192.0.2.77
    check "what the VRF's table lacks, the main table has" answers client 192.0.2.78
    check "an unreachable default route keeps the tables apart" isolated
    check "a VLAN in a third VRF" moves
    check "ping by that VLAN" answers client 192.0.2.1 -I 198.51.100.50
    check "a twin that leaves its VRF, and comes back" leaves
    check "no complaint about VRFs and their rule" only_vrfs
    check "a policy rule by source is told by status and check" rule_is_told
    check "a twin in a bridge is told by status" bridge_is_told
    ctl status
    check "the relay ends in order" stop_relay
fi
for name in client relay server other; do
    remove_namespace "$name"
done
