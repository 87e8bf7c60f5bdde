//! How a packet ends that is not sent. It gets exactly one [`Verdict`], which is counted: [`crate::sink`].
//!
//! [`DropReason`] is final; [`PuntReason`] is an offer to the kernel, which may still do something with the
//! packet. The two never mix.

/// The end of a packet that is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Handed to the kernel.
    Punted(PuntReason),
    /// Gone.
    Dropped(DropReason),
}

macro_rules! reasons {
    ($(#[$outer:meta])* $name:ident { $( $(#[doc = $doc:literal])+ $variant:ident = $text:literal, )+ }) => {
        $(#[$outer])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name { $( $(#[doc = $doc])+ $variant, )+ }

        impl $name {
            /// Every reason, in the order of its counter.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )+ ];

            /// The stable name used by counters, reports and documentation.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => $text, )+ }
            }

            /// What it means (the first sentence), and what an operator should look at (the rest).
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self { $( Self::$variant => concat!($($doc),+).trim_ascii(), )+ }
            }

            /// Position of its counter.
            #[must_use]
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

pub(crate) use reasons;

reasons! {
    /// Why a packet left the fast path for the kernel.
    PuntReason {
        /// ARP, which the kernel speaks. `ip neigh` on the twin; a flood of it is a loop or a scan.
        Arp = "arp",
        /// OSPF, PIM, VRRP, BFD or BGP from next door: link-local, or with the TTL 255 that no router lets pass
        /// (RFC 5082). Nothing to do; if sessions flap, see `punt_policed` and the routing daemon.
        RoutingProtocol = "routing_protocol",
        /// Routing protocols that may come from afar: BGP and BFD without TTL 255. Turn GTSM on (`ttl security`), so
        /// that nobody far away can send what counts as a neighbour's.
        RoutingProtocolDistant = "routing_protocol_distant",
        /// IPv6 neighbour discovery, router discovery or multicast listener messages. `ip -6 neigh` on the
        /// twin; a flood of it is a loop or a scan.
        NeighborDiscovery = "neighbor_discovery",
        /// The destination is one of the box's own addresses. SSH, ping and management; if it grows
        /// unasked, somebody probes the box: filter on the twin.
        LocalAddress = "local_address",
        /// The IP destination is multicast, link-local or the limited broadcast, where routing protocols
        /// live. `tcpdump -i bl-PORT` shows which.
        LocalScope = "local_scope",
        /// An EtherType the relay does not translate (LLDP, LACP, ...). Harmless; `tcpdump -e -i bl-PORT` shows which.
        EtherType = "ether_type",
        /// A VLAN without a forwarding interface on this port. Create it (`ip link add link bl-PORT name
        /// bl-PORT.N type vlan id N`), or prune it on the switch.
        UnknownVlan = "unknown_vlan",
        /// A unicast frame for another link-layer address: a VRRP or macvlan address of the kernel, or
        /// flooding. If it is neither, look at the switch's address table.
        ForeignMac = "foreign_mac",
        /// The route leaves by an interface that is not one of the relay's ports. Slow: if this is much,
        /// `ip route get DESTINATION` and route it over a port.
        KernelRoute = "kernel_route",
        /// The next hop's link-layer address is not known yet, and the packet waits while the kernel
        /// resolves it. If it keeps growing, `ip neigh` shows the next hop as FAILED or INCOMPLETE.
        UnresolvedNextHop = "unresolved_next_hop",
        /// A packet that needs no translation, which `forward_native = false` leaves to the kernel. As configured; if it
        /// is much, something is routed to the relay that is none of its business.
        NativeNotForwarded = "native_not_forwarded",
    }
}

reasons! {
    /// Why a packet was dropped.
    DropReason {
        /// A frame in several buffers that does not fit into one. Longer than the port's MTU: give the port the MTU
        /// of its link.
        SegmentsTooLong = "segments_too_long",
        /// Frame shorter than its link-layer header. A broken sender or driver: capture on the peer.
        FrameTooShort = "frame_too_short",
        /// IP packet that came before the kernel's addresses and routes were read for the first time. Only in the
        /// first moments after a start.
        Starting = "starting",
        /// The twin of the port, or its VLAN interface, is down. Bring it up: `ip link set bl-PORT up`.
        InterfaceDown = "interface_down",
        /// IPv4 header shorter than 20 bytes, version not 4, or longer than the frame (RFC 1812 5.2.2). A
        /// broken sender or a fuzzer: capture, and look at the source.
        Ipv4HeaderInvalid = "ipv4_header_invalid",
        /// IPv4 header checksum wrong (RFC 1812 5.2.2). A faulty link or memory on the way, or a sender
        /// that left the checksum to hardware that did not do it (`ethtool -K`).
        Ipv4HeaderChecksum = "ipv4_header_checksum",
        /// IPv4 Total Length longer than the frame or shorter than the header. A faulty sender, or a link
        /// that cuts frames: compare MTUs.
        Ipv4Truncated = "ipv4_truncated",
        /// IPv4 options that cannot be walked. A broken sender or a fuzzer: capture, and look at the
        /// source.
        Ipv4OptionsInvalid = "ipv4_options_invalid",
        /// IPv6 header shorter than 40 bytes or version not 6. A broken sender or a fuzzer: capture, and
        /// look at the source.
        Ipv6HeaderInvalid = "ipv6_header_invalid",
        /// IPv6 Payload Length longer than the frame, or a jumbogram (RFC 2675). A faulty sender, or a link that cuts
        /// frames: compare MTUs.
        Ipv6Truncated = "ipv6_truncated",
        /// IPv6 extension header chain that runs past the packet or is longer than the relay walks (RFC
        /// 8200 4). A broken sender or an attack on routers: look at the source.
        Ipv6ExtensionInvalid = "ipv6_extension_invalid",
        /// A transport header that does not fit into the packet. A broken sender or a fuzzer: capture, and
        /// look at the source.
        TransportTruncated = "transport_truncated",
        /// Source that no forwarded packet may have (RFC 6890): loopback, link-local, multicast, class E, net
        /// 0, 192.0.0.0/24 but for what is assigned in it, unspecified. Spoofing or a misconfigured host: the next router towards it should filter.
        IllegalSource = "illegal_source",
        /// Destination that is never forwarded to (RFC 6890): as illegal_source, and 192.0.0.8; or an address
        /// embedding one.
        /// A misconfigured host, or a default route where a narrower one belongs.
        IllegalDestination = "illegal_destination",
        /// Unicast IP packet received as a link-layer broadcast or multicast (RFC 1812 5.3.4). A
        /// misconfigured neighbour: look at its ARP or ND entries for the relay.
        LinkBroadcast = "link_broadcast",
        /// TTL or Hop Limit expired, for which time exceeded is due. Traceroute, in small numbers; in large
        /// ones a routing loop: follow the destination.
        HopLimitExceeded = "hop_limit_exceeded",
        /// An unexpired IPv4 source route option (RFC 7915 4.1). Nobody needs these today: look at the
        /// source.
        SourceRoute = "source_route",
        /// An IPv6 Routing header with Segments Left not 0 (RFC 7915 5.1). Segment routing must end before
        /// the relay; anything else is suspicious.
        RoutingHeader = "routing_header",
        /// Fragmented ICMP, which cannot be translated (RFC 7915 1.2). Pings larger than the path: use
        /// smaller ones.
        FragmentedIcmp = "fragmented_icmp",
        /// First fragment too short to hold the transport checksum (RFC 7915 4.5). No honest stack makes
        /// these: look at the source.
        TinyFragment = "tiny_fragment",
        /// Fragment that ends past the largest datagram. No honest stack makes these: look at the source.
        FragmentInvalid = "fragment_invalid",
        /// Extension header behind a Fragment header (RFC 7915 5.1.1). IPsec AH or an odd stack that
        /// fragments behind its headers: it needs another way to IPv4.
        FragmentedExtension = "fragmented_extension",
        /// Protocol number that means something else in the other family (guard_protocols). An attack, or a
        /// test; the numbers are 0, 43, 44, 58, 60 from IPv4 and 1, 2 from IPv6.
        GuardedProtocol = "guarded_protocol",
        /// IGMP, MLD, ND and other single-hop or unknown ICMP messages, which end here silently (RFC 7915
        /// 4.2, 5.2). Harmless; if it is much, somebody scans with odd ICMP types.
        IcmpUntranslatable = "icmp_untranslatable",
        /// An ICMP error about an ICMP error, or about a packet that cannot be translated (RFC 7915 4.3,
        /// 5.3). Forged errors, or EAMs that were removed while traffic ran.
        IcmpInnerUntranslatable = "icmp_inner_untranslatable",
        /// An IPv4 UDP packet without checksum (RFC 7915 4.5, udp_zero_checksum). The log names sender and
        /// service once a second; turn checksums on there, or set udp_zero_checksum = "compute".
        UdpZeroChecksum = "udp_zero_checksum",
        /// Source without a mapping: an IPv6 one without an EAM outside the translation prefixes (RFC 7755
        /// 4.3), an IPv4 one where there is no prefix. Give the host a service address, or make it choose
        /// the one it has; for clients of all kinds configure a prefix.
        SourceNotMapped = "source_not_mapped",
        /// The translated destination is the box itself. Reach the box by its address of the other family,
        /// and remove the EAM that points at it.
        DestinationIsLocal = "destination_is_local",
        /// IPv4 service address without an EAM: host unreachable is answered, never a loop. Scans, mostly;
        /// for an address in use add its EAM.
        UnassignedServiceAddress = "unassigned_service_address",
        /// Address refused by `denylist`. As configured; the source is told "administratively prohibited".
        Denylisted = "denylisted",
        /// Non-global IPv4 address with the Well-Known Prefix (RFC 6052 3.1, wkp_strict). Use a prefix of
        /// your own for private addresses.
        WellKnownPrefixNonGlobal = "well_known_prefix_non_global",
        /// Source that only an inside host may have (anti_spoof). Somebody outside pretends to be inside,
        /// or traffic enters by the wrong side: look at the source, then at routing.
        SpoofedSource = "spoofed_source",
        /// Translated packet larger than IP can express. No honest stack makes these: look at the source.
        TooLong = "too_long",
        /// Larger than the next hop's MTU with DF set, for which fragmentation needed or packet too big is
        /// due. Path MTU discovery at work; if connections hang all the same, errors are filtered on the
        /// way back.
        PacketTooBig = "packet_too_big",
        /// No route to the destination. `ip route get DESTINATION` (or `ip -6`): is the routing daemon up,
        /// is the default route there?
        NoRoute = "no_route",
        /// The next hop does not answer ARP or ND. `ip neigh` shows it FAILED: is the host up, is it in
        /// this VLAN?
        NextHopUnreachable = "next_hop_unreachable",
        /// The route says unreachable. `ip route get DESTINATION`: some daemon or operator put it there.
        RouteUnreachable = "route_unreachable",
        /// The route says prohibit. `ip route get DESTINATION`: some daemon or operator put it there.
        RouteProhibited = "route_prohibited",
        /// The route says blackhole. `ip route get DESTINATION`: some daemon or operator put it there.
        RouteBlackhole = "route_blackhole",
        /// The port's transmit queue is full. The offered load exceeds the link or the peer, or the link is
        /// down: look at the port's link and rate.
        TransmitQueueFull = "transmit_queue_full",
        /// The mempool is exhausted. Raise memory_mb.
        NoBuffer = "no_buffer",
        /// More punted packets of one class, or of one sender or for one next hop in it, than the policer admits. A flood
        /// of ARP, ND, broadcasts or packets for the box: `tcpdump -i bl-PORT` shows which.
        PuntPoliced = "punt_policed",
        /// The ring to the control thread is full. The control thread gets too little CPU time: keep its
        /// CPUs free of workers and other load.
        PuntRingFull = "punt_ring_full",
        /// Too many packets wait for the next hop's link-layer address already. In small numbers the start of a flow to
        /// a host not heard of yet; in large ones a scan of a connected prefix: filter it further out.
        NeighborWaitOverflow = "neighbor_wait_overflow",
        /// The next hop's link-layer address did not become known in time. The host is slow or gone, or a scan leaves no
        /// turn for it: `ip neigh`.
        NeighborWaitExpired = "neighbor_wait_expired",
        /// The packet waited for a next hop that did not answer ARP or ND. `ip neigh` shows it FAILED: is the host
        /// up, is it in this VLAN?
        NeighborFailed = "neighbor_failed",
        /// The kernel's neighbour table has no room for the next hop. Raise net.ipv4.neigh.default.gc_thresh3, or that of
        /// net.ipv6 (in the first network namespace): the log names the number.
        NeighborTableFull = "neighbor_table_full",
        /// The twin did not take a punted frame. Bring it up: `ip link set bl-PORT up`; if it is, the kernel is out of
        /// memory.
        TwinRefused = "twin_refused",
        /// A packet whose next hop became known found the ring to its worker full. The worker is overloaded: compare busy
        /// and idle cycles.
        InjectRingFull = "inject_ring_full",
        /// A frame with more than one VLAN tag, or with a provider's (802.1ad, 0x9100). The relay takes one 802.1Q tag:
        /// have the switch remove the outer one, or terminate it in front of the port.
        StackedVlan = "stacked_vlan",
    }
}
