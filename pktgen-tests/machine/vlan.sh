# shellcheck shell=bash disable=SC2034
# 802.1Q interfaces of the kernel on both sides of the relay, and on its twins: untagged packets and VLANs 10 and 20 of the
# same two ports. Sourced by guest, once for each driver.

# vlan NAMESPACE PARENT ID ADDRESS...
vlan() {
    local namespace=$1 parent=$2 id=$3 address
    shift 3
    ip -n "$namespace" link add link "$parent" name "$parent.$id" type vlan id "$id" || return 1
    for address in "$@"; do
        ip -n "$namespace" addr add "$address" dev "$parent.$id" || return 1
    done
    ip -n "$namespace" link set "$parent.$id" up
}

hosts() {
    local name
    for name in client relay server; do
        add_namespace "$name"
    done
    wire client c4 relay r4 1500
    wire server s6 relay r6 1520
    ip netns exec client sysctl -qw net.ipv6.conf.c4.disable_ipv6=1
    ip -n client addr add 203.0.113.50/26 dev c4
    vlan client c4 10 203.0.113.74/26
    vlan client c4 20 203.0.113.138/26
    ip -n client route add 192.0.2.1 via 203.0.113.1
    ip -n client route add 192.0.2.30 via 203.0.113.1
    ip -n client route add 192.0.2.10 via 203.0.113.65
    ip -n client route add 192.0.2.20 via 203.0.113.129
    ip -n server addr add 2001:db8:12:34::1/64 dev s6 nodad
    vlan server s6 10 2001:db8:10::1/64 2001:db8:10::30/64
    vlan server s6 20 2001:db8:20::1/64
    ip -n server route add 2001:db8:46::203.0.113.50/128 via 2001:db8:12:34::ffff
    ip -n server route add 2001:db8:46::203.0.113.74/128 via 2001:db8:10::ffff src 2001:db8:10::1
    ip -n server route add 2001:db8:46::203.0.113.138/128 via 2001:db8:20::ffff src 2001:db8:20::1
    serve server '[::]'
    serve client 0.0.0.0
}

# twins: addresses, and the VLANs of the page.
twins() {
    in_relay ip addr add 203.0.113.1/26 dev bl-v4 &&
        in_relay ip addr add 2001:db8:12:34::ffff/64 dev bl-v6 nodad &&
        vlan relay bl-v4 10 203.0.113.65/26 && vlan relay bl-v4 20 203.0.113.129/26 &&
        vlan relay bl-v6 10 2001:db8:10::ffff/64 && vlan relay bl-v6 20 2001:db8:20::ffff/64 &&
        within 10 followed
}

followed() { ctl routes | grep -q 'bl-v6\.20'; }

configuration() {
    cat >/tmp/vlan.toml <<-TOML
	[dpdk]
	workers = [1]
	memory = "no-huge"
	memory_mb = 256

	[[port]]
	name = "v4"
	device = "${1}0,iface=r4"
	mtu = 1500

	[[port]]
	name = "v6"
	device = "${1}1,iface=r6"
	mtu = 1520

	[control]

	[translation]
	prefixes = ["2001:db8:46::/96"]
	service_pools = ["192.0.2.0/24"]

	[[eam]]
	ipv4 = "192.0.2.1"
	ipv6 = "2001:db8:12:34::1"

	[[eam]]
	ipv4 = "192.0.2.10"
	ipv6 = "2001:db8:10::1"

	[[eam]]
	ipv4 = "192.0.2.20"
	ipv6 = "2001:db8:20::1"

	[[eam]]
	ipv4 = "192.0.2.30"
	ipv6 = "2001:db8:10::30"
	TOML
}

# Tagged packets go by the express lane, and none of them by the control thread.
fast() {
    local before after slow text
    before=$(counter 'borderline_translated_packets_total')
    slow=$(counter 'borderline_punted_packets_total.*slow_path')
    ip netns exec client ping -n -q -c 40 -i 0.1 192.0.2.10 >/dev/null &
    ip netns exec client ping -n -q -c 40 -i 0.1 192.0.2.20 >/dev/null &
    text=$(ctl trace --paths --filter icmp --seconds 20 --count 120)
    echo "$text"
    wait %ping 2>/dev/null
    after=$(counter 'borderline_translated_packets_total')
    slow=$(($(counter 'borderline_punted_packets_total.*slow_path') - slow))
    MEASURED=$(awk '/ > / { printf "%s%s: %s", sep, substr($0, index($0, "%") + 3), $1; sep = ", " }' <<<"$text")
    MEASURED="$MEASURED; slow_path $slow"
    [ $((after - before)) -ge 120 ] && [ "$slow" -eq 0 ] && ! grep -q 'walk > translated' <<<"$text" &&
        grep -q 'v4 > ipv4 > express > translated > ipv6 > v6' <<<"$text" &&
        grep -q 'v6 > ipv6 > express > translated > ipv4 > v4' <<<"$text"
}

# two_tags PARENT PROTOCOL COUNTER: twenty frames with a further tag, or a provider's, each counted there.
two_tags() {
    local before after
    before=$(counter "borderline_.*_packets_total.*$3")
    ip -n client link add link "$1" name stacked type vlan proto "$2" id 5 || return 1
    ip -n client addr add 10.5.0.2/24 dev stacked
    ip -n client link set stacked up
    ip -n client neigh add 10.5.0.1 lladdr "$(ip -n relay link show bl-v4 | sed -n 's/.*ether \([^ ]*\).*/\1/p')" dev stacked
    ip netns exec client ping -n -q -c 20 -i 0.05 -W 1 10.5.0.1
    ip -n client link del stacked
    after=$(counter "borderline_.*_packets_total.*$3")
    MEASURED="$3 +$((after - before)) of 20"
    [ $((after - before)) -ge 20 ]
}

# unknown_frames: how many frames of a VLAN without an interface on the twin are counted while a ping goes there.
unknown_frames() {
    local before
    before=$(counter 'borderline_punted_packets_total.*unknown_vlan')
    vlan client c4 99 10.99.0.2/24
    ip netns exec client ping -n -q -c 3 -i 0.2 -W 1 10.99.0.1
    ip -n client link del c4.99
    FRAMES=$(($(counter 'borderline_punted_packets_total.*unknown_vlan') - before))
    MEASURED="unknown_vlan +$FRAMES"
}

# A VLAN that has no interface on the twin is counted by name.
unknown() {
    unknown_frames
    [ "$FRAMES" -gt 0 ]
}

# A sender that leaves the tag to the other end, as a card that takes it off does: the tag is beside the frame. XDP does not see
# it, packet sockets do.
beside() {
    ip netns exec client ethtool -K c4 txvlan on || return 1
    unknown_frames
    ip netns exec client ethtool -K c4 txvlan off
    if [ "$1" = seen ]; then [ "$FRAMES" -gt 0 ]; else [ "$FRAMES" -eq 0 ]; fi
}

# The interface of a VLAN goes, and packets for it with it; it comes back, and so do they.
comes_back() {
    in_relay ip link del bl-v6.20 || return 1
    sleep 0.5
    ! ip netns exec client ping -n -q -c 2 -W 1 192.0.2.20 || return 1
    vlan relay bl-v6 20 2001:db8:20::ffff/64 && within 10 ip netns exec client ping -n -q -c 1 -W 1 192.0.2.20
}

with_driver() {
    local driver=$1 what="$1: "
    configuration "$driver"
    check "${what}relay starts with two VLANs on each port" start_relay /tmp/vlan.toml || return
    check "${what}twins have their 802.1Q interfaces" twins
    check "${what}untagged: ping to IPv6" answers client 192.0.2.1
    check "${what}untagged: ping to IPv4" answers server 2001:db8:46::203.0.113.50
    check "${what}VLAN 10: ping to IPv6" answers client 192.0.2.10
    check "${what}VLAN 10: ping to IPv4" answers server 2001:db8:46::203.0.113.74
    check "${what}VLAN 20: ping to IPv6" answers client 192.0.2.20
    check "${what}VLAN 20: ping to IPv4" answers server 2001:db8:46::203.0.113.138
    check "${what}in untagged, out by VLAN 10, back untagged" answers client 192.0.2.30
    check "${what}VLAN 10: the relay itself answers, once" answers client 203.0.113.65
    check "${what}VLAN 10: HTTP to IPv6" fetches client 192.0.2.10
    check "${what}VLAN 20: HTTP to IPv4" fetches server '[2001:db8:46::203.0.113.138]'
    check "${what}untagged: HTTP to IPv6" fetches client 192.0.2.1
    check "${what}tagged packets take the express lane" fast
    check "${what}QinQ (two 802.1Q tags) is dropped by name" two_tags c4.10 802.1q stacked_vlan
    if [ "$driver" = net_af_xdp ]; then
        check "${what}a provider's tag (802.1ad) is dropped by name" two_tags c4 802.1ad stacked_vlan
        check "${what}a tag that was taken off the frame is not seen, as the page warns" beside "not seen"
    else
        check "${what}a provider's tag (802.1ad) comes as an ordinary one, as the page warns" two_tags c4 802.1ad unknown_vlan
        check "${what}a tag that was taken off the frame is put back" beside seen
    fi
    check "${what}a VLAN without an interface is counted by name" unknown
    check "${what}a VLAN interface removed and made again" comes_back
    check "${what}the status has no complaint" healthy
    check "${what}the relay ends in order" stop_relay
}

hosts
for driver in af_xdp af_packet; do
    with_driver "net_$driver"
done
for name in client relay server; do
    remove_namespace "$name"
done
