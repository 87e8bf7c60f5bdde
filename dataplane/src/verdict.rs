//! How a packet ends. Every received packet gets exactly one [`Verdict`], and every verdict is counted.
//!
//! [`DropReason`] is final; [`PuntReason`] is an offer to the kernel, which may still do something with the
//! packet. The two never mix.

/// The end of one packet's walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Handed to a transmit queue.
    Sent,
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

            /// What it means and what an operator should look at.
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
        /// ARP.
        Arp = "arp",
        /// BGP, OSPF, BFD, PIM and VRRP for the box.
        RoutingProtocol = "routing_protocol",
        /// IPv6 neighbour discovery, router discovery and multicast listener messages.
        NeighborDiscovery = "neighbor_discovery",
        /// The destination is one of the box's own addresses.
        LocalAddress = "local_address",
        /// The IP destination is multicast, link-local or the limited broadcast: routing protocols live there.
        LocalScope = "local_scope",
        /// An EtherType the relay does not translate (LLDP, LACP, ...), or an unknown VLAN stack.
        EtherType = "ether_type",
        /// A VLAN without a forwarding interface on this port.
        UnknownVlan = "unknown_vlan",
        /// A unicast frame for another link-layer address (a VRRP or macvlan address of the kernel, or flooding).
        ForeignMac = "foreign_mac",
        /// The route leaves by an interface that is not one of the relay's ports.
        KernelRoute = "kernel_route",
        /// The next hop's link-layer address is not known yet: the packet waits while the kernel resolves it.
        UnresolvedNextHop = "unresolved_next_hop",
    }
}

reasons! {
    /// Why a packet was dropped.
    DropReason {
        /// Frame shorter than its link-layer header.
        FrameTooShort = "frame_too_short",
        /// The twin of the port, or its VLAN interface, is down: bring it up with ip link set.
        InterfaceDown = "interface_down",
        /// IPv4 header shorter than 20 bytes, version not 4, or longer than the frame (RFC 1812 5.2.2).
        Ipv4HeaderInvalid = "ipv4_header_invalid",
        /// IPv4 header checksum wrong (RFC 1812 5.2.2).
        Ipv4HeaderChecksum = "ipv4_header_checksum",
        /// IPv4 Total Length longer than the frame or shorter than the header.
        Ipv4Truncated = "ipv4_truncated",
        /// IPv4 options that cannot be walked.
        Ipv4OptionsInvalid = "ipv4_options_invalid",
        /// IPv6 header shorter than 40 bytes or version not 6.
        Ipv6HeaderInvalid = "ipv6_header_invalid",
        /// IPv6 Payload Length longer than the frame, or a jumbogram.
        Ipv6Truncated = "ipv6_truncated",
        /// IPv6 extension header chain runs past the packet or is longer than the relay walks (RFC 8200 4).
        Ipv6ExtensionInvalid = "ipv6_extension_invalid",
        /// A transport header that does not fit into the packet.
        TransportTruncated = "transport_truncated",
        /// Source that no packet may have: loopback, multicast, class E, net 0, unspecified, link-local (RFC 7915 4.1, 5.1).
        IllegalSource = "illegal_source",
        /// Destination that cannot be forwarded to: loopback, class E, net 0, or an address embedding one.
        IllegalDestination = "illegal_destination",
        /// Unicast IP packet received as a link-layer broadcast or multicast (RFC 1812 5.3.4).
        LinkBroadcast = "link_broadcast",
        /// TTL or Hop Limit expired; time exceeded was due.
        HopLimitExceeded = "hop_limit_exceeded",
        /// An unexpired IPv4 source route option (RFC 7915 4.1).
        SourceRoute = "source_route",
        /// An IPv6 Routing header with Segments Left not 0 (RFC 7915 5.1).
        RoutingHeader = "routing_header",
        /// Fragmented ICMP cannot be translated (RFC 7915 1.2).
        FragmentedIcmp = "fragmented_icmp",
        /// First fragment too short to hold the transport checksum (RFC 7915 4.5).
        TinyFragment = "tiny_fragment",
        /// Fragment that ends past the largest datagram, or not on an 8-byte boundary.
        FragmentInvalid = "fragment_invalid",
        /// Extension header behind a Fragment Header (RFC 7915 5.1.1).
        FragmentedExtension = "fragmented_extension",
        /// Protocol number that means something else in the other family (guard_protocols).
        GuardedProtocol = "guarded_protocol",
        /// IGMP, MLD, ND and other single-hop or unknown ICMP messages end here silently (RFC 7915 4.2, 5.2).
        IcmpUntranslatable = "icmp_untranslatable",
        /// An ICMP error about an ICMP error, or about a packet that cannot be translated (RFC 7915 4.3, 5.3).
        IcmpInnerUntranslatable = "icmp_inner_untranslatable",
        /// An IPv4 UDP packet without checksum (RFC 7915 4.5, udp_zero_checksum).
        UdpZeroChecksum = "udp_zero_checksum",
        /// IPv6 source without an EAM outside the translation prefixes (RFC 7755 4.3): give the host a service address.
        SourceNotMapped = "source_not_mapped",
        /// The translated destination is the box itself: reach the box by its address of the other family.
        DestinationIsLocal = "destination_is_local",
        /// IPv4 service address without an EAM (host unreachable is answered, never a loop).
        UnassignedServiceAddress = "unassigned_service_address",
        /// Address refused by `denylist`.
        Denylisted = "denylisted",
        /// Non-global IPv4 address with the Well-Known Prefix (RFC 6052 3.1, wkp_strict).
        WellKnownPrefixNonGlobal = "well_known_prefix_non_global",
        /// Source that only an inside host may have (anti_spoof).
        SpoofedSource = "spoofed_source",
        /// The ICMPv6 error's source has no IPv4 form and icmp_source_pool is empty (RFC 6791).
        IcmpSourcePoolEmpty = "icmp_source_pool_empty",
        /// Translated packet larger than IP can express.
        TooLong = "too_long",
        /// Larger than the next hop's MTU with DF set; fragmentation needed or packet too big was due.
        PacketTooBig = "packet_too_big",
        /// No route to the destination.
        NoRoute = "no_route",
        /// The next hop does not answer ARP or ND.
        NextHopUnreachable = "next_hop_unreachable",
        /// The route says unreachable.
        RouteUnreachable = "route_unreachable",
        /// The route says prohibit.
        RouteProhibited = "route_prohibited",
        /// The route says blackhole.
        RouteBlackhole = "route_blackhole",
        /// The port's transmit queue is full: offered load exceeds the link or the peer.
        TransmitQueueFull = "transmit_queue_full",
        /// The mempool is exhausted: raise memory_mb.
        NoBuffer = "no_buffer",
        /// More punted packets of one class than the policer admits.
        PuntPoliced = "punt_policed",
        /// The ring to the control thread is full.
        PuntRingFull = "punt_ring_full",
    }
}
