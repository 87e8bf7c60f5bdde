//! The stages of a packet's walk, in the order it takes them.
//!
//! Each stage takes what it needs and either carries on or ends the packet with a [`Refusal`]: the one way to
//! refuse a packet, with a reason that is counted and, where one is due, the ICMP error to answer with.

use crate::verdict::DropReason;
use crate::wire::icmp;

pub mod classify;
pub mod error_limit;
pub mod fragment;
pub mod icmp_error;
pub mod identification;
pub mod lookup;
pub mod parse;
pub mod quote;
pub mod translate;
pub mod transport;

/// The end of a packet that is not forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: DropReason,
    /// What its sender is told; nothing when the RFCs say silently.
    pub answer: Option<Answer>,
}

/// An ICMP error in the family of the refused packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// ICMP type.
    pub kind: u8,
    /// ICMP code.
    pub code: u8,
    /// Bytes 4 to 7 of the message: MTU or pointer.
    pub rest: [u8; 4],
}

impl Refusal {
    /// Without a word.
    #[must_use]
    pub const fn silent(reason: DropReason) -> Self {
        Self { reason, answer: None }
    }

    /// With an ICMPv4 or ICMPv6 error.
    #[must_use]
    pub const fn answered(reason: DropReason, kind: u8, code: u8, rest: [u8; 4]) -> Self {
        Self { reason, answer: Some(Answer { kind, code, rest }) }
    }

    /// The default for a discarded IPv4 packet: 3/13 (RFC 7915 4.4).
    #[must_use]
    pub const fn prohibited_v4(reason: DropReason) -> Self {
        Self::answered(reason, icmp::v4::UNREACHABLE, icmp::v4::PROHIBITED, [0; 4])
    }

    /// The default for a discarded IPv6 packet: 1/1 (RFC 7915 5.4).
    #[must_use]
    pub const fn prohibited_v6(reason: DropReason) -> Self {
        Self::answered(reason, icmp::v6::UNREACHABLE, icmp::v6::PROHIBITED, [0; 4])
    }
}

impl From<DropReason> for Refusal {
    fn from(reason: DropReason) -> Self {
        Self::silent(reason)
    }
}

/// Which time a packet goes through lookup and translate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// As received.
    First,
    /// Back again inside the relay (RFC 7757 4.2.2).
    Hairpin,
}
