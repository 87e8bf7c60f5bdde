//! What one packet's walk asked, and the answers it went on with, for whoever explains it.
//!
//! The walk tells its [`Output`](super::Output) by [`note`](super::Output::note). A worker's output listens to nothing, so there a
//! note is an empty function whose argument nobody makes: not an instruction is left of it.

use std::net::{IpAddr, Ipv6Addr};

use crate::stage::classify::{Class, DestinationV4};
use crate::stage::transport::{TransportV4, TransportV6};
use crate::stage::{Pass, Refusal};
use crate::table::MappedV6;
use crate::table::fib::Path;

/// One question of the walk, with its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Whose packet it is; with the destination it will have, if it is translated.
    Class(Class<IpAddr>),
    /// A plain translator leaves native traffic between others to routing (RFC 7757).
    LeftToRouting,
    /// What it carries.
    Carries(Carried),
    /// An address that was mapped.
    Mapped {
        /// Which address of the packet.
        which: Which,
        /// The address as it came, or as the first pass left it.
        from: IpAddr,
        /// Its form in the other family.
        to: IpAddr,
        /// The first time through, or back again.
        pass: Pass,
    },
    /// Where packets to an address go.
    Path {
        /// The address.
        destination: IpAddr,
        /// The flow's hash, which chooses among several next hops.
        flow: u32,
        /// The answer.
        path: Path,
    },
    /// It will be cut to packets of so many bytes at most.
    Cut(u16),
    /// It turns round towards this address (RFC 7757 4.2.2).
    Turned(Ipv6Addr),
    /// It was cut into so many pieces.
    Pieces(usize),
    /// It goes no further.
    Refused(Refusal),
    /// What its sender is told about that.
    Answer(Told),
}

/// An address of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Of the packet itself.
    Source,
    /// Of the packet an ICMP error quotes.
    QuotedSource,
    /// Of the packet an ICMP error quotes.
    QuotedDestination,
}

/// What a packet carries, as its family's translator sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried {
    /// In IPv4.
    V4(TransportV4),
    /// In IPv6.
    V6(TransportV6),
}

/// Whether an ICMP error goes to the sender of a refused packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It goes out.
    Sent,
    /// RFC 1812 4.3.2.7 and RFC 4443 2.4(e) forbid errors about such packets.
    Forbidden,
    /// `icmp_errors` is off.
    Off,
    /// The limit of errors is reached.
    Limited,
    /// There is no route back, no source address or no buffer for it.
    Unsendable,
}

impl Step {
    pub(super) fn class_v4(class: &Class<MappedV6>) -> Self {
        Self::Class(match *class {
            Class::Translate(mapped) => Class::Translate(mapped.address.into()),
            Class::Native => Class::Native,
            Class::Punt(reason) => Class::Punt(reason),
        })
    }

    pub(super) fn class_v6(class: &Class<DestinationV4>) -> Self {
        Self::Class(match *class {
            Class::Translate(destination) => Class::Translate(destination.mapped.address.into()),
            Class::Native => Class::Native,
            Class::Punt(reason) => Class::Punt(reason),
        })
    }
}
