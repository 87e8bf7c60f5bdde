//! Tables: built once by control, then read-only. The public interface of each separates what is legal per
//! packet (`lookup`, `contains`, ...) from what is not (`build`, `new`).

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::wire::checksum::Delta;

mod adjacency;
pub mod compiler;
pub mod eam;
pub mod fib;
mod host_table;
mod hosts;
pub mod icmp_source;
pub mod ipv4_set;
pub mod lpm;
mod pages;
pub mod prefix;
mod prefix_eams;
pub mod publish;
pub mod routing;
pub mod snapshot;
pub mod special;
pub mod translation;

/// The IPv6 form of an IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MappedV6 {
    /// The address.
    pub address: Ipv6Addr,
    /// One's-complement sum of the IPv6 address minus that of the IPv4 address.
    pub delta: Delta,
}

/// The IPv4 form of an IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MappedV4 {
    /// The address.
    pub address: Ipv4Addr,
    /// One's-complement sum of the IPv4 address minus that of the IPv6 address.
    pub delta: Delta,
    /// Mapped by an EAM for 0.0.0.0/0 (RFC 7757 A.2).
    pub default_eam: bool,
}
