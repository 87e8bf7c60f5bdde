//! What works and is probably not meant, and what `eam_overlap` lets pass or refuses.

use std::fmt;
use std::net::IpAddr;

use ipnet::{Ipv4Net, Ipv6Net};
use thiserror::Error;

use super::error::{EamRef, Family};

/// Works, but is probably not meant.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WarningKind {
    /// RFC 7755 section 4.4 recommends a prefix of one's own.
    #[error(
        "the Well-Known Prefix clashes with NAT64 and is not for use between networks; prefer a /96 of your own \
         (RFC 7755 section 4.4)"
    )]
    WellKnownPrefix,
    /// RFC 6052 section 3.1.
    #[error(
        "IPv4-translatable addresses should not use the Well-Known Prefix; give them a prefix of your own \
         (RFC 6052 section 3.1)"
    )]
    WellKnownPrefixTranslatable,
    /// RFC 7755 section 4.10.
    #[error("IPv4-translatable service addresses are discouraged; prefer EAMs (RFC 7755 section 4.10)")]
    Translatable,
    /// An unassigned service address translated into the prefix is routed back.
    #[error(
        "overlaps service pool {pool}: packets to addresses without an EAM loop between the relay and its router \
         until their TTL ends; leave service pools out of it"
    )]
    TranslatableLoop {
        /// The service pool.
        pool: Ipv4Net,
    },
    /// An Edge Relay has it implied.
    #[error("has no effect on an Edge Relay, which reaches all of IPv4 through the prefix; remove it")]
    TranslatableOnEdgeRelay,
    /// RFC 6791 section 3.1.
    #[error(
        "private addresses are dropped by reverse-path filters on their way; use a public one (RFC 6791 section 3.1)"
    )]
    PrivateIcmpSource,
    /// No translation prefix.
    #[error(
        "empty: only hosts under EAMs reach each other; IPv4 clients without one are refused, and errors of IPv4 routers \
         seem to come from the relay; add a prefix to serve clients of all kinds"
    )]
    NoPrefix,
    /// Simple hairpinning without a translation prefix.
    #[error(
        "sources are mapped through the prefix (RFC 7757 section 4.2.1), and there is none: nothing passes from IPv4 to IPv6; \
         set hairpin = \"intrinsic\", or add a prefix"
    )]
    SimpleHairpinWithoutPrefix,
    /// The address could also be a service's.
    #[error(
        "overlaps service pool {pool}: errors will seem to come from a service; keep these addresses free of EAMs"
    )]
    IcmpSourceInServicePool {
        /// The service pool.
        pool: Ipv4Net,
    },
    /// More than addresses of services can be.
    #[error(
        "has {part} in it, so it is more than services can have: packets from these addresses are dropped as \
         spoofed_source, and no route to it is announced; list the pools that are yours"
    )]
    ServicePoolTooWide {
        /// A block in it that is never translated.
        part: &'static str,
    },
    /// The address is a service's.
    #[error(
        "{eam} maps these addresses: errors will seem to come from that service; use an address without an EAM"
    )]
    IcmpSourceMapped {
        /// The EAM.
        eam: EamRef,
    },
    /// No port can carry it.
    #[error(
        "no port has an MTU above {greatest}, which decides; raise the mtu of the IPv6 port, or lower this"
    )]
    LowestMtuUnreachable {
        /// The greatest MTU of any port.
        greatest: u16,
    },
    /// No packet can match.
    #[error("no EAM and no translatable_pools: nothing is translated; add `[[eam]]` or `eam_files`")]
    NothingToTranslate,
    /// An EAM nobody routes here.
    #[error(
        "its IPv4 prefix is in none of service_pools; add the pool, so that unassigned addresses are refused"
    )]
    OutsideServicePools,
    /// Some of its addresses never cross a router.
    #[error(
        "part of it is {what}, which no router forwards: packets from and to those addresses are dropped; map narrower \
         prefixes (RFC 6890)"
    )]
    PartlySpecial {
        /// The block.
        what: &'static str,
    },
    /// Not refused under `eam_overlap = "warn"`.
    #[error(transparent)]
    Lint(Lint),
    /// A section of a Jool file we do not take.
    #[error("not taken from a Jool file{}", Instead(*instead))]
    JoolIgnored {
        /// What says the same here.
        instead: Option<&'static str>,
    },
}

/// What `eam_overlap` decides about: legal by RFC 7757 section 5, rarely meant.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Lint {
    /// A prefix nested in another EAM's.
    #[error(
        "its {which} lies inside {outer}; the longest match wins: remove one of the two, or set \
         translation.eam_overlap = \"allow\" (RFC 7757 section 5)"
    )]
    Overlap {
        /// Which of its prefixes.
        which: Nested,
        /// The EAM around it.
        outer: EamRef,
    },
    /// Every address of one side is taken by longer prefixes.
    #[error(
        "no {family} address is left to it: {inner} and others inside it take them all; remove it, or those \
         (RFC 7757 section 5)"
    )]
    Shadowed {
        /// The side that never matches.
        family: Family,
        /// One of the EAMs that take its addresses.
        inner: EamRef,
    },
    /// A translation by this EAM is undone by another.
    #[error(
        "the two directions do not mirror: it translates {from} to {to}, but {to} is translated back by {other}; \
         give the two EAMs separate prefixes (RFC 7757 section 5)"
    )]
    Asymmetric {
        /// An address it translates.
        from: IpAddr,
        /// What it becomes.
        to: IpAddr,
        /// The EAM that translates it back.
        other: EamRef,
    },
    /// IPv6 prefix and translation prefix overlap.
    #[error(
        "its IPv6 prefix overlaps the translation prefix {prefix}, so some IPv6 addresses stand for two IPv4 \
         addresses; use IPv6 addresses outside it (RFC 7757 section 3.3)"
    )]
    InsidePrefix {
        /// The translation prefix.
        prefix: Ipv6Net,
    },
}

/// Which prefixes of an EAM are nested in another EAM's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nested {
    /// The IPv4 prefix.
    Ipv4,
    /// The IPv6 prefix.
    Ipv6,
    /// Both.
    Both,
}

impl fmt::Display for Nested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4 prefix",
            Self::Ipv6 => "IPv6 prefix",
            Self::Both => "pair of prefixes",
        })
    }
}

struct Instead(Option<&'static str>);

impl fmt::Display for Instead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(key) => write!(f, "; set {key}"),
            None => f.write_str("; nothing here corresponds to it"),
        }
    }
}
