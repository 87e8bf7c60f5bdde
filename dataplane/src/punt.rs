//! What a worker hands to the kernel, class by class: a flood of garbage must not starve the routing protocols.
//!
//! ```text
//!  packet -> class -> its sender's share -> its class's rate -> urgent or other ring -> control -> twin
//! ```
//!
//! Every [`PuntReason`] is a class. Its rate is the whole box's: workers have equal parts of it. All rates together are
//! less than half of what the control thread was measured to take, so that no class makes it late for another, and it has
//! time for routes and neighbours. Where many send packets of a class, no sender has more than a share of the rate; next
//! hops that wait for a link-layer address are senders of this kind too.
//!
//! Measured with `cargo bench -p control --bench punts`, which fills one worker's rings without end, on a machine of two
//! CPUs (AMD EPYC, 2.6 GHz) with eight other busy processes; packets a second:
//!
//! | pings answered by the kernel | ARP | 1,500 bytes to a closed port | unknown EtherType | unresolved next hop |
//! | --- | --- | --- | --- | --- |
//! | 130,000 to 138,000 | 144,000 to 234,000 | 154,000 to 215,000 | 519,000 to 849,000 | 2.3 to 2.9 million |

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::exception::{PuntSender, RingFull};
use crate::limit::{Shares, TokenBucket};
use crate::stage::error_limit::Sender;
use crate::stage::parse::Family;
use crate::table::routing::PortId;
use crate::verdict::{DropReason, PuntReason, Verdict};
use crate::walk::Wanted;

mod class;

pub(crate) use class::of_packet;

/// Punted packets a second the control thread takes from the rings, of the kind that costs most.
const CONTROL_TAKES: u32 = 130_000;
/// The rates of all classes together.
const ALL_CLASSES: u32 = {
    let (mut sum, mut class) = (EXPECTED, 0);
    while class < PuntReason::ALL.len() {
        sum += rate(PuntReason::ALL[class]);
        class += 1;
    }
    sum
};
const _: () = assert!(ALL_CLASSES <= CONTROL_TAKES / 2);

/// Slots that the senders of one class are spread over.
const SLOTS: usize = 1024;
/// What every class may send at once.
const LEAST_BURST: u32 = 64;

/// Packets per second and box.
const fn rate(class: PuntReason) -> u32 {
    match class {
        PuntReason::RoutingProtocol => 10_000,
        PuntReason::RoutingProtocolDistant | PuntReason::LocalAddress => 8_000,
        PuntReason::KernelRoute => 10_000,
        PuntReason::Arp
        | PuntReason::NeighborDiscovery
        | PuntReason::UnresolvedNextHop
        | PuntReason::NativeNotForwarded => 5_000,
        PuntReason::LocalScope => 3_000,
        PuntReason::EtherType | PuntReason::UnknownVlan | PuntReason::ForeignMac => 1_000,
    }
}

/// Packets at once, of this rate: a fiftieth of a second, which keeps the control thread for some milliseconds. Packets that
/// wait for a next hop only are put aside, and the first ones of many cold flows come together.
fn burst(class: PuntReason, rate: u32) -> u32 {
    let least = if class == PuntReason::UnresolvedNextHop { 1024 } else { LEAST_BURST };
    (rate / 50).max(least)
}

/// Packets per second and box for next hops that an operator has named: a scan for others leaves them alone.
const EXPECTED: u32 = 3_000;
/// The place of their limit behind those of the classes.
const EXPECTED_AT: usize = PuntReason::ALL.len();

/// What is offered to the kernel, and who sent it if senders of its class have shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) class: PuntReason,
    pub(crate) sender: Option<Sender>,
}

/// Which limits an offer has to pass.
#[derive(Clone, Copy)]
struct Limits {
    at: usize,
    senders: [Option<Sender>; 2],
}

impl From<Offer> for Limits {
    fn from(offer: Offer) -> Self {
        Self { at: offer.class.index(), senders: [offer.sender, None] }
    }
}

impl Limits {
    /// One next hop has a share, whoever asks for it. One who asks for next hops that nobody has named has one too,
    /// however many they are.
    fn unresolved(wanted: Wanted, packet: &[u8]) -> Self {
        let hop = Some(Sender::host(wanted.next_hop));
        if wanted.expected {
            return Self { at: EXPECTED_AT, senders: [hop, None] };
        }
        Self { at: PuntReason::UnresolvedNextHop.index(), senders: [hop, source(packet)] }
    }
}

/// An IPv4 host, or an IPv6 network.
fn source(packet: &[u8]) -> Option<Sender> {
    if packet.first()? >> 4 == 4 {
        let source = Ipv4Addr::from(*packet.get(12..16)?.first_chunk()?);
        return Some(Sender::host(source.into()));
    }
    Some(Sender::from(Ipv6Addr::from(*packet.get(8..24)?.first_chunk()?)))
}

impl Offer {
    /// A frame that is not IP for the box. ARP has a sender: who put it onto the link.
    pub(crate) fn of_frame(frame: &[u8], class: PuntReason) -> Self {
        let source = frame.get(6..12).filter(|_| class == PuntReason::Arp);
        let sender = source.map(|mac| Sender(mac.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))));
        Self { class, sender }
    }
}

/// The limits of one worker.
struct Policer {
    classes: [TokenBucket; EXPECTED_AT + 1],
    shares: [Shares; EXPECTED_AT + 1],
}

impl Policer {
    /// Full buckets for one of `workers` workers; `hertz` cycles are one second.
    fn new(hertz: u64, workers: u32) -> Self {
        let class = |at: usize| PuntReason::ALL.get(at).copied();
        let rate = |at: usize| (class(at).map_or(EXPECTED, rate) / workers.max(1)).max(1);
        let burst = |at: usize| burst(class(at).unwrap_or(PuntReason::UnresolvedNextHop), rate(at));
        Self {
            classes: std::array::from_fn(|at| TokenBucket::new(rate(at), burst(at), hertz)),
            shares: std::array::from_fn(|at| {
                // Half of the class: two senders may use it up, one may not.
                let share = rate(at).div_ceil(2);
                Shares::new(SLOTS, share, (share / 50).max(LEAST_BURST / 2), hertz)
            }),
        }
    }

    /// Whether one more packet may pass at the time `now`.
    fn admit(&mut self, limits: impl Into<Limits>, now: u64) -> bool {
        let Limits { at, senders } = limits.into();
        let bucket = &mut self.classes[at];
        bucket.refill(now);
        if bucket.is_empty() {
            return false;
        }
        let senders = senders.map(|sender| sender.map(|Sender(sender)| sender));
        self.shares[at].admit_all(&senders, now) && bucket.take()
    }
}

/// The way to the kernel: everything that takes it passes the policer.
pub(crate) struct Punts {
    policer: Policer,
    ring: PuntSender,
    now: u64,
}

impl Punts {
    /// For one of `workers` workers; `hertz` cycles are one second.
    pub(crate) fn new(ring: PuntSender, hertz: u64, workers: u32) -> Self {
        Self { policer: Policer::new(hertz, workers), ring, now: 0 }
    }

    /// It is `now`. Once per turn.
    #[inline]
    pub(crate) fn begin_turn(&mut self, now: u64) {
        self.now = now;
    }

    /// Offers a frame, as it was received on `port`.
    pub(crate) fn frame(&mut self, port: PortId, offer: Offer, frame: &[u8]) -> Verdict {
        self.offer(offer.class, offer.into(), |ring| ring.send_frame(port, offer.class, frame))
    }

    /// Offers a packet that waits for the link-layer address of a next hop.
    pub(crate) fn unresolved(&mut self, wanted: Wanted, packet: &[u8]) -> Verdict {
        let limits = Limits::unresolved(wanted, packet);
        let Wanted { interface, next_hop, .. } = wanted;
        self.offer(PuntReason::UnresolvedNextHop, limits, |ring| {
            ring.send_unresolved(interface, next_hop, packet)
        })
    }

    /// Offers a translated packet for the box itself.
    pub(crate) fn translated(&mut self, packet: &[u8]) -> Verdict {
        let family =
            if packet.first().map(|byte| byte >> 4) == Some(4) { Family::Ipv4 } else { Family::Ipv6 };
        let offer = of_packet(family, packet, PuntReason::LocalAddress);
        self.offer(offer.class, offer.into(), |ring| ring.send_translated(offer.class, packet))
    }

    fn offer(
        &mut self,
        class: PuntReason,
        limits: Limits,
        send: impl FnOnce(&mut PuntSender) -> Result<(), RingFull>,
    ) -> Verdict {
        if !self.policer.admit(limits, self.now) {
            return Verdict::Dropped(DropReason::PuntPoliced);
        }
        match send(&mut self.ring) {
            Ok(()) => Verdict::Punted(class),
            Err(RingFull) => Verdict::Dropped(DropReason::PuntRingFull),
        }
    }

    /// The ring itself, for what is no packet.
    pub(crate) fn ring(&mut self) -> &mut PuntSender {
        &mut self.ring
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::routing::InterfaceId;
    use std::net::IpAddr;

    const HERTZ: u64 = 1_000_000;

    fn of(class: PuntReason, sender: u64) -> Offer {
        Offer { class, sender: Some(Sender(sender)) }
    }

    #[test]
    fn a_flood_of_one_class_leaves_the_others_alone() {
        let mut policer = Policer::new(HERTZ, 1);
        let garbage = Offer { class: PuntReason::EtherType, sender: None };
        assert_eq!((0..200_000).filter(|_| policer.admit(garbage, 1)).count(), 64, "a burst");
        for class in PuntReason::ALL.iter().filter(|class| **class != PuntReason::EtherType) {
            assert!(policer.admit(of(*class, 1), 1), "{}", class.name());
        }
        let later = (0..200_000).filter(|_| policer.admit(garbage, 50_001)).count();
        assert_eq!(later, 50, "and then the rate");
    }

    #[test]
    fn the_rate_is_the_boxs_whatever_the_number_of_workers() {
        for workers in [1, 2, 8] {
            let mut policers: Vec<_> = (0..workers).map(|_| Policer::new(HERTZ, workers)).collect();
            let mut admitted = 0;
            for policer in &mut policers {
                for now in (0..10 * HERTZ).step_by(20) {
                    admitted += u32::from(policer.admit(of(PuntReason::LocalAddress, now), now));
                }
            }
            let rate = rate(PuntReason::LocalAddress);
            assert!((9 * rate..11 * rate).contains(&admitted), "{admitted} in 10 s by {workers} workers");
        }
    }

    #[test]
    fn no_sender_and_no_next_hop_uses_up_a_class() {
        let (sender, _receiver) = crate::exception::punt_ring(1 << 22, std::sync::Arc::new(|| ()));
        let mut punts = Punts::new(sender, HERTZ, 1);
        punts.begin_turn(1);
        let mut flood = |hop: u8, times: u32| {
            let hop = IpAddr::V4(Ipv4Addr::new(192, 0, 2, hop));
            let wanted = Wanted { interface: InterfaceId(0), next_hop: hop, expected: false };
            // From another sender each.
            let packet = |number: u32| [&[0x45; 12][..], &number.to_be_bytes(), &[0; 44]].concat();
            let verdicts = (0..times).map(|number| punts.unresolved(wanted, &packet(number)));
            verdicts.filter(|verdict| *verdict == Verdict::Punted(PuntReason::UnresolvedNextHop)).count()
        };
        // Slots are drawn anew each time: a sender in the slot of the next hop pays twice, one beside it not at all.
        let of_one_hop = flood(1, 20_000);
        assert!((45..=50).contains(&of_one_hop), "{of_one_hop}");
        let of_others: usize = (2..5).map(|hop| flood(hop, 10)).sum();
        assert!(of_others > 15, "{of_others} of 30");
        assert!(policer_holds_a_scanner(&mut punts));
        let mut policer = Policer::new(HERTZ, 1);
        let scanner = of(PuntReason::LocalAddress, 7);
        assert!((0..100_000).filter(|_| policer.admit(scanner, 1)).count() < 1000);
        assert!((8..12).any(|sender| policer.admit(of(PuntReason::LocalAddress, sender), 1)));
        assert!(policer.admit(of(PuntReason::RoutingProtocolDistant, 7), 1));
    }
    /// One sender looks for everything; named hosts, and what others look for, get through.
    fn policer_holds_a_scanner(punts: &mut Punts) -> bool {
        let from = |last: u8| [&[0x45; 12][..], &[203, 0, 113, last], &[0; 44]].concat();
        let mut ask = |hop: u32, expected, packet: &[u8]| {
            let next_hop = IpAddr::V4(Ipv4Addr::from(0x0a09_0000 + hop));
            let wanted = Wanted { interface: InterfaceId(0), next_hop, expected };
            punts.unresolved(wanted, packet) == Verdict::Punted(PuntReason::UnresolvedNextHop)
        };
        let scanned = (0..20_000).filter(|hop| ask(*hop, false, &from(1))).count();
        // And everybody looks for one and the same.
        for sender in 10..100 {
            for _ in 0..100 {
                ask(29_999, false, &from(sender));
            }
        }
        let others =
            (100..200).filter(|sender| ask(30_000 + u32::from(*sender), false, &from(*sender))).count();
        let named = (40_000..40_010).filter(|hop| ask(*hop, true, &from(1))).count();
        // A few of the others may share a slot with those who have used theirs up.
        scanned < 100 && others > 90 && named == 10
    }
}
