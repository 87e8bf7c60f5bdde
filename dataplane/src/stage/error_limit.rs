//! How many ICMP errors the relay originates, and about whose packets (RFC 4443 2.4(f), RFC 1812 4.3.2.8).
//!
//! ```text
//!  rate a second and worker  =  three quarters for all kinds   +   a quarter for too big alone, in slices:
//!                               | at most two thirds of it         a sender has its slice, whatever others send
//!                               | for one kind, too big excepted
//!                               | at most an eighth of the rate for one sender, too big counted apart
//! ```
//!
//! A sender is an IPv4 /24 or an IPv6 /64. Path MTU discovery hangs on a single message getting through, so "too big"
//! stands for packet too big and for fragmentation needed: no flood of anything else, and none of another sender, may keep
//! it from being sent. Slots are shared by hash: see `Shares`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Answer;
use crate::hash::{high64, low64, mix};
use crate::limit::{Shares, TokenBucket};
use crate::wire::icmp::{v4, v6};

/// Slots that senders are spread over.
const SLOTS: usize = 256;
/// What a sender gets of a low rate.
const SMALL_SHARE: u32 = 8;

/// What an ICMP error says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Packet too big, fragmentation needed.
    TooBig,
    /// Time exceeded.
    TimeExceeded,
    /// Destination unreachable, for any other reason.
    Unreachable,
    /// Anything else: parameter problem.
    Other,
}

impl ErrorKind {
    /// Of an ICMPv4 error.
    #[must_use]
    pub const fn of_v4(answer: &Answer) -> Self {
        match (answer.kind, answer.code) {
            (v4::UNREACHABLE, v4::FRAGMENTATION_NEEDED) => Self::TooBig,
            (v4::UNREACHABLE, _) => Self::Unreachable,
            (v4::TIME_EXCEEDED, _) => Self::TimeExceeded,
            _ => Self::Other,
        }
    }

    /// Of an ICMPv6 error.
    #[must_use]
    pub const fn of_v6(answer: &Answer) -> Self {
        match answer.kind {
            v6::PACKET_TOO_BIG => Self::TooBig,
            v6::UNREACHABLE => Self::Unreachable,
            v6::TIME_EXCEEDED => Self::TimeExceeded,
            _ => Self::Other,
        }
    }
}

/// Who is told: all addresses of an IPv4 /24, or of an IPv6 /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender(pub(crate) u64);

impl From<Ipv4Addr> for Sender {
    fn from(address: Ipv4Addr) -> Self {
        Self(u64::from(address.to_bits() >> 8))
    }
}

impl From<Ipv6Addr> for Sender {
    fn from(address: Ipv6Addr) -> Self {
        Self(high64(address.to_bits()))
    }
}

impl Sender {
    /// One address, not its network.
    pub(crate) fn host(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self(u64::from(address.to_bits())),
            IpAddr::V6(address) => Self(mix(high64(address.to_bits())) ^ low64(address.to_bits())),
        }
    }
}

/// The limits of one worker.
#[derive(Debug, Clone)]
pub struct ErrorLimits {
    now: u64,
    all: TokenBucket,
    /// By kind; none for [`ErrorKind::TooBig`], which comes first.
    kinds: [TokenBucket; 3],
    senders: Shares,
    too_big_senders: Shares,
    /// Slices of one a second at least.
    reserve: Option<Shares>,
}

impl ErrorLimits {
    /// Limits that sum up to `rate` errors a second, and to as many at once. `hertz` cycles are one second.
    #[must_use]
    pub fn new(rate: u32, hertz: u64) -> Self {
        let reserve = rate / 4;
        let shared = rate - reserve;
        let kind = (u64::from(shared) * 2).div_ceil(3);
        let kind = u32::try_from(kind).expect("no more than the rate");
        let share = (rate / 8).max(rate.min(SMALL_SHARE));
        let bucket = |rate| TokenBucket::new(rate, rate, hertz);
        let senders = || Shares::new(SLOTS, share, share, hertz);
        let slices = SLOTS.min(reserve as usize);
        Self {
            now: 0,
            all: bucket(shared),
            kinds: [(); 3].map(|()| bucket(kind)),
            senders: senders(),
            too_big_senders: senders(),
            reserve: u32::try_from(slices).ok().filter(|slices| *slices > 0).map(|slices| {
                let slice = reserve / slices;
                Shares::new(slices as usize, slice, slice, hertz)
            }),
        }
    }

    /// It is `now`. Once per turn.
    #[inline]
    pub fn refill(&mut self, now: u64) {
        self.now = now;
        self.all.refill(now);
        self.kinds.iter_mut().for_each(|kind| kind.refill(now));
    }

    /// Whether one more error of this kind may be sent to `sender`.
    pub fn admit(&mut self, kind: ErrorKind, Sender(sender): Sender) -> bool {
        let kind = match kind {
            ErrorKind::TooBig => {
                let shared = self.too_big_senders.admit(sender, self.now) && self.all.take();
                return shared || self.reserve.as_mut().is_some_and(|slices| slices.admit(sender, self.now));
            }
            ErrorKind::TimeExceeded => 0,
            ErrorKind::Unreachable => 1,
            ErrorKind::Other => 2,
        };
        // In this order: what one limit refuses takes nothing from the next.
        self.senders.admit(sender, self.now)
            && !self.all.is_empty()
            && self.kinds[kind].take()
            && self.all.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERTZ: u64 = 1_000_000;

    fn limits(rate: u32) -> ErrorLimits {
        let mut limits = ErrorLimits::new(rate, HERTZ);
        limits.refill(5 * HERTZ);
        limits
    }

    fn sender(number: u32) -> Sender {
        Ipv4Addr::from_bits(0x0b00_0000 + (number << 8)).into()
    }

    fn admitted(
        limits: &mut ErrorLimits,
        kind: ErrorKind,
        senders: std::ops::Range<u32>,
        each: u32,
    ) -> usize {
        let asks = senders.flat_map(|number| (0..each).map(move |_| number));
        asks.filter(|number| limits.admit(kind, sender(*number))).count()
    }

    #[test]
    fn no_flood_of_other_errors_keeps_a_packet_from_being_called_too_big() {
        let mut limits = limits(1000);
        for kind in [ErrorKind::TimeExceeded, ErrorKind::Unreachable, ErrorKind::Other] {
            admitted(&mut limits, kind, 0..4000, 2);
        }
        assert!(limits.all.is_empty());
        assert!(limits.admit(ErrorKind::TooBig, sender(1)), "the same sender");
        // One of them may share the slice that was just used.
        let others =
            (9_990..10_000).filter(|number| limits.admit(ErrorKind::TooBig, sender(*number))).count();
        assert!(others > 5, "{others} of 10 others");
    }

    #[test]
    fn no_flood_of_one_sender_mutes_another() {
        let mut limits = limits(1000);
        let flood = admitted(&mut limits, ErrorKind::TooBig, 7..8, 10_000);
        assert!((125..=130).contains(&flood), "an eighth of the rate, and its slice: {flood}");
        assert_eq!(admitted(&mut limits, ErrorKind::TimeExceeded, 7..8, 10_000), 125);
        for number in [8, 9, 10] {
            assert!(limits.admit(ErrorKind::TooBig, sender(number)));
        }
        // All of the shared part is gone, by many senders: each still has its slice.
        admitted(&mut limits, ErrorKind::TooBig, 100..120, 400);
        assert!(limits.all.is_empty());
        let lucky = (5000..5020).filter(|number| limits.admit(ErrorKind::TooBig, sender(*number))).count();
        assert!(lucky >= 12, "{lucky} of 20: few of 250 slices were used up by the 21 who sent much");
    }

    #[test]
    fn one_kind_leaves_a_third_to_the_others() {
        let mut limits = limits(1000);
        assert_eq!(admitted(&mut limits, ErrorKind::Unreachable, 0..5000, 1), 500);
        assert_eq!(admitted(&mut limits, ErrorKind::TimeExceeded, 5000..10_000, 1), 250);
    }

    #[test]
    fn the_sum_never_exceeds_the_rate() {
        for rate in [1, 2, 3, 4, 7, 10, 100, 1000, 1_000_000] {
            let mut limits = limits(rate);
            let mut sent = 0;
            for kind in [ErrorKind::Other, ErrorKind::TooBig, ErrorKind::TimeExceeded, ErrorKind::Unreachable]
            {
                sent += admitted(&mut limits, kind, 0..20_000, 1.max(rate / 20_000));
            }
            assert!(sent > 0 && sent <= rate as usize, "{sent} of {rate}");
            limits.refill(6 * HERTZ);
            let again = admitted(&mut limits, ErrorKind::TooBig, 0..20_000, 1.max(rate / 20_000));
            assert!(again > 0 && again <= rate as usize, "{again} of {rate}, a second later");
        }
    }

    #[test]
    fn senders_are_networks() {
        let of = |text: &str| Sender::from(text.parse::<Ipv6Addr>().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8::1"));
        assert_eq!(Sender::from(Ipv4Addr::new(192, 0, 2, 1)), Sender::from(Ipv4Addr::new(192, 0, 2, 255)));
        assert_ne!(Sender::from(Ipv4Addr::new(192, 0, 2, 1)), Sender::from(Ipv4Addr::new(192, 0, 3, 1)));
    }
}
