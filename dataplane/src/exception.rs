//! The exception path's rings: `punt`, of which there are two, towards the kernel, and `inject` from it.
//!
//! Rings carry copied bytes, so no buffer leaves its lcore. All are bounded and never block; a full punt ring
//! is a counted drop, a full inject ring is the control thread's to count. One worker owns the worker ends,
//! the control thread owns the other ends.
//!
//! What keeps the network together goes by the urgent punt ring, which control empties first: ARP, neighbour discovery,
//! routing protocols, packets for the box. What anybody may send to the box from afar leaves half of it to the others.
//!
//! A record is a fixed 24-byte header and the bytes of one frame:
//!
//! ```text
//!  0      2      4        6        8                                24
//!  +------+------+--------+--------+--------------------------------+--------
//!  | len  | kind | port / reason   |  next hop (16, IPv4 mapped)    | bytes ...
//!  |      |      | interface       |                                |
//!  +------+------+--------+--------+--------------------------------+--------
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use rtrb::{Consumer, Producer, RingBuffer};

use crate::table::routing::{InterfaceId, PortId};
use crate::verdict::PuntReason;

/// Called by a worker, at most once per burst, after it punted something: wakes the control thread.
pub type Doorbell = Arc<dyn Fn() + Send + Sync>;

const HEADER: usize = 24;
const KIND_FRAME: u16 = 0;
const KIND_UNRESOLVED: u16 = 1;
const KIND_ZERO_CHECKSUM: u16 = 2;
/// An IP packet without a link-layer header: translated for the box itself, or from the box to be translated.
const KIND_PACKET: u16 = 3;

/// A ring has no room for the record. Nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ring is full")]
pub struct RingFull;

/// What arrives at the control thread.
#[derive(Debug, PartialEq, Eq)]
pub enum Punted<'a> {
    /// A whole Ethernet frame, as received (VLAN tag included), for the twin of `port`.
    Frame {
        /// Where it was received.
        port: PortId,
        /// Why the kernel gets it.
        reason: PuntReason,
        /// The frame.
        bytes: &'a [u8],
    },
    /// An IP packet ready to leave by `interface`, waiting for the link-layer address of `next_hop`.
    Unresolved {
        /// Where it leaves.
        interface: InterfaceId,
        /// Whose link-layer address is missing.
        next_hop: IpAddr,
        /// The packet, from its IP header on.
        packet: &'a [u8],
    },
    /// An IP packet that was translated and is for the box itself, from its IP header on.
    Translated {
        /// What it is.
        reason: PuntReason,
        /// The packet.
        packet: &'a [u8],
    },
    /// The management event RFC 7915 4.5 asks for when a UDP datagram without checksum is dropped.
    ZeroChecksum(ZeroChecksum),
}

/// What arrives at a worker.
#[derive(Debug, PartialEq, Eq)]
pub enum Injected<'a> {
    /// A whole Ethernet frame of the kernel's, to be sent as it is.
    Frame {
        /// Out of this port.
        port: PortId,
        /// The frame.
        bytes: &'a [u8],
    },
    /// An IP packet of the box itself, from its IP header on, that takes the way of a received one.
    Packet(&'a [u8]),
}

/// A dropped IPv4 UDP datagram without checksum, and how many more were dropped since the last event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZeroChecksum {
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// Source port.
    pub source_l4_port: u16,
    /// Destination port.
    pub destination_l4_port: u16,
    /// Others, not reported one by one.
    pub suppressed: u64,
}

impl ZeroChecksum {
    const BYTES: usize = 20;

    fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[0..4].copy_from_slice(&self.source.octets());
        bytes[4..8].copy_from_slice(&self.destination.octets());
        bytes[8..10].copy_from_slice(&self.source_l4_port.to_be_bytes());
        bytes[10..12].copy_from_slice(&self.destination_l4_port.to_be_bytes());
        bytes[12..20].copy_from_slice(&self.suppressed.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, s0, s1, d0, d1, suppressed @ ..] = *bytes;
        Self {
            source: Ipv4Addr::new(a, b, c, d),
            destination: Ipv4Addr::new(e, f, g, h),
            source_l4_port: u16::from_be_bytes([s0, s1]),
            destination_l4_port: u16::from_be_bytes([d0, d1]),
            suppressed: u64::from_be_bytes(suppressed),
        }
    }
}

/// Which ring a class takes, and how much of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Urgent,
    /// Half of it stays free.
    UrgentHalf,
    Other,
}

impl Way {
    const fn of(reason: PuntReason) -> Self {
        match reason {
            PuntReason::Arp | PuntReason::NeighborDiscovery | PuntReason::RoutingProtocol => Self::Urgent,
            PuntReason::RoutingProtocolDistant | PuntReason::LocalAddress => Self::UrgentHalf,
            PuntReason::LocalScope
            | PuntReason::EtherType
            | PuntReason::UnknownVlan
            | PuntReason::ForeignMac
            | PuntReason::KernelRoute
            | PuntReason::UnresolvedNextHop => Self::Other,
        }
    }
}

/// The worker's ends of its punt rings.
pub struct PuntSender {
    urgent: Producer<u8>,
    other: Producer<u8>,
    doorbell: Doorbell,
    rang: bool,
}

/// The control thread's ends of one worker's punt rings.
pub struct PuntReceiver {
    urgent: Consumer<u8>,
    other: Consumer<u8>,
    scratch: Vec<u8>,
}

/// The two punt rings of a worker, of `capacity` bytes each.
#[must_use]
pub fn punt_ring(capacity: usize, doorbell: Doorbell) -> (PuntSender, PuntReceiver) {
    let (urgent, urgent_end) = RingBuffer::new(capacity);
    let (other, other_end) = RingBuffer::new(capacity);
    let scratch = Vec::with_capacity(10_000);
    (
        PuntSender { urgent, other, doorbell, rang: true },
        PuntReceiver { urgent: urgent_end, other: other_end, scratch },
    )
}

impl PuntSender {
    /// Offers a received frame to the kernel twin of `port`.
    ///
    /// # Errors
    /// [`RingFull`] when the control thread does not keep up.
    pub fn send_frame(&mut self, port: PortId, reason: PuntReason, frame: &[u8]) -> Result<(), RingFull> {
        let number = u16::from(reason as u8);
        self.send(Way::of(reason), KIND_FRAME, port.0, number, Ipv6Addr::UNSPECIFIED, frame)
    }

    /// Asks for `next_hop` to be resolved on `interface`, and for `packet` to be sent to it then.
    ///
    /// # Errors
    /// [`RingFull`] when the control thread does not keep up.
    pub fn send_unresolved(
        &mut self,
        interface: InterfaceId,
        next_hop: IpAddr,
        packet: &[u8],
    ) -> Result<(), RingFull> {
        let mapped = match next_hop {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        self.send(Way::Other, KIND_UNRESOLVED, interface.0, 0, mapped, packet)
    }

    /// Offers a translated packet to the kernel itself.
    ///
    /// # Errors
    /// [`RingFull`] when the control thread does not keep up.
    pub fn send_translated(&mut self, reason: PuntReason, packet: &[u8]) -> Result<(), RingFull> {
        let number = u16::from(reason as u8);
        self.send(Way::of(reason), KIND_PACKET, 0, number, Ipv6Addr::UNSPECIFIED, packet)
    }

    /// Reports a dropped datagram without checksum.
    ///
    /// # Errors
    /// [`RingFull`] when the control thread does not keep up.
    pub fn send_zero_checksum(&mut self, event: ZeroChecksum) -> Result<(), RingFull> {
        self.send(Way::Other, KIND_ZERO_CHECKSUM, 0, 0, Ipv6Addr::UNSPECIFIED, &event.to_bytes())
    }

    /// Wakes the control thread if anything was sent since the last call. Once per burst.
    pub fn ring_doorbell(&mut self) {
        if !self.rang {
            self.rang = true;
            (self.doorbell)();
        }
    }

    fn send(
        &mut self,
        way: Way,
        kind: u16,
        place: u16,
        reason: u16,
        next_hop: Ipv6Addr,
        bytes: &[u8],
    ) -> Result<(), RingFull> {
        let length = u16::try_from(bytes.len()).map_err(|_| RingFull)?;
        let mut header = [0; HEADER];
        header[0..2].copy_from_slice(&length.to_ne_bytes());
        header[2..4].copy_from_slice(&kind.to_ne_bytes());
        header[4..6].copy_from_slice(&place.to_ne_bytes());
        header[6..8].copy_from_slice(&reason.to_ne_bytes());
        header[8..24].copy_from_slice(&next_hop.octets());
        let ring = match way {
            Way::Urgent | Way::UrgentHalf => &mut self.urgent,
            Way::Other => &mut self.other,
        };
        if way == Way::UrgentHalf && ring.slots() < HEADER + bytes.len() + ring.buffer().capacity() / 2 {
            return Err(RingFull);
        }
        write_record(ring, &header, bytes)?;
        self.rang = false;
        Ok(())
    }
}

impl PuntReceiver {
    /// Takes the next record, an urgent one before any other, if there is one, and hands it to `handle`.
    pub fn receive<R>(&mut self, handle: impl FnOnce(Punted<'_>) -> R) -> Option<R> {
        let header = read_record(&mut self.urgent, &mut self.scratch)
            .or_else(|| read_record(&mut self.other, &mut self.scratch))?;
        Some(self.hand_out(header, handle))
    }

    /// Takes the next urgent record, if there is one, and hands it to `handle`.
    pub fn receive_urgent<R>(&mut self, handle: impl FnOnce(Punted<'_>) -> R) -> Option<R> {
        let header = read_record(&mut self.urgent, &mut self.scratch)?;
        Some(self.hand_out(header, handle))
    }

    /// Takes the next record that is not urgent, if there is one, and hands it to `handle`.
    pub fn receive_other<R>(&mut self, handle: impl FnOnce(Punted<'_>) -> R) -> Option<R> {
        let header = read_record(&mut self.other, &mut self.scratch)?;
        Some(self.hand_out(header, handle))
    }

    fn hand_out<R>(&self, header: [u8; HEADER], handle: impl FnOnce(Punted<'_>) -> R) -> R {
        let place = u16::from_ne_bytes([header[4], header[5]]);
        let reason = usize::from(u16::from_ne_bytes([header[6], header[7]]));
        let punted = match u16::from_ne_bytes([header[2], header[3]]) {
            KIND_FRAME => {
                Punted::Frame { port: PortId(place), reason: PuntReason::ALL[reason], bytes: &self.scratch }
            }
            KIND_PACKET => Punted::Translated { reason: PuntReason::ALL[reason], packet: &self.scratch },
            KIND_ZERO_CHECKSUM => {
                let bytes = self.scratch.first_chunk().expect("written with that many bytes");
                Punted::ZeroChecksum(ZeroChecksum::from_bytes(bytes))
            }
            _ => {
                let octets: [u8; 16] = header[8..24].try_into().expect("a slice of 16 bytes");
                let address = Ipv6Addr::from(octets);
                let next_hop = address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4);
                Punted::Unresolved { interface: InterfaceId(place), next_hop, packet: &self.scratch }
            }
        };
        handle(punted)
    }
}

/// The control thread's end of the inject ring.
pub struct InjectSender {
    ring: Producer<u8>,
}

/// The worker's end of the inject ring.
pub struct InjectReceiver {
    ring: Consumer<u8>,
    scratch: Vec<u8>,
}

/// An inject ring of `capacity` bytes.
#[must_use]
pub fn inject_ring(capacity: usize) -> (InjectSender, InjectReceiver) {
    let (producer, consumer) = RingBuffer::new(capacity);
    (InjectSender { ring: producer }, InjectReceiver { ring: consumer, scratch: Vec::with_capacity(10_000) })
}

impl InjectSender {
    /// Has `frame` (a whole Ethernet frame) sent out of `port`.
    ///
    /// # Errors
    /// [`RingFull`] when the worker does not keep up, or the frame exceeds 65,535 bytes.
    pub fn send(&mut self, port: PortId, frame: &[u8]) -> Result<(), RingFull> {
        self.write(KIND_FRAME, port.0, frame)
    }

    /// Has an IP packet of the box itself take the way of a received one.
    ///
    /// # Errors
    /// [`RingFull`] when the worker does not keep up, or the packet exceeds 65,535 bytes.
    pub fn send_packet(&mut self, packet: &[u8]) -> Result<(), RingFull> {
        self.write(KIND_PACKET, 0, packet)
    }

    fn write(&mut self, kind: u16, place: u16, bytes: &[u8]) -> Result<(), RingFull> {
        let length = u16::try_from(bytes.len()).map_err(|_| RingFull)?;
        let mut header = [0; HEADER];
        header[0..2].copy_from_slice(&length.to_ne_bytes());
        header[2..4].copy_from_slice(&kind.to_ne_bytes());
        header[4..6].copy_from_slice(&place.to_ne_bytes());
        write_record(&mut self.ring, &header, bytes)
    }
}

impl InjectReceiver {
    /// Takes the next record, if there is one.
    pub fn receive(&mut self) -> Option<Injected<'_>> {
        let header = read_record(&mut self.ring, &mut self.scratch)?;
        let place = u16::from_ne_bytes([header[4], header[5]]);
        Some(match u16::from_ne_bytes([header[2], header[3]]) {
            KIND_PACKET => Injected::Packet(&self.scratch),
            _ => Injected::Frame { port: PortId(place), bytes: &self.scratch },
        })
    }

    /// Whether a frame is waiting.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }
}

/// Writes header and bytes as one commit, so that the reader never sees half a record.
fn write_record(ring: &mut Producer<u8>, header: &[u8; HEADER], bytes: &[u8]) -> Result<(), RingFull> {
    let mut chunk = ring.write_chunk(HEADER + bytes.len()).map_err(|_| RingFull)?;
    let (first, second) = chunk.as_mut_slices();
    let (first, second) = fill(header, first, second);
    fill(bytes, first, second);
    chunk.commit_all();
    Ok(())
}

/// Copies `bytes` to the front of two slices taken as one; returns what is left of them.
fn fill<'a>(bytes: &[u8], first: &'a mut [u8], second: &'a mut [u8]) -> (&'a mut [u8], &'a mut [u8]) {
    let (head, tail) = bytes.split_at(bytes.len().min(first.len()));
    let (into, first) = first.split_at_mut(head.len());
    into.copy_from_slice(head);
    let (into, second) = second.split_at_mut(tail.len());
    into.copy_from_slice(tail);
    (first, second)
}

/// Reads one record: its header, and its bytes into `scratch`.
fn read_record(ring: &mut Consumer<u8>, scratch: &mut Vec<u8>) -> Option<[u8; HEADER]> {
    let chunk = ring.read_chunk(HEADER).ok()?;
    let mut header = [0; HEADER];
    let (first, second) = chunk.as_slices();
    header[..first.len()].copy_from_slice(first);
    header[first.len()..].copy_from_slice(second);
    chunk.commit_all();
    let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
    scratch.clear();
    let chunk = ring.read_chunk(length).ok()?;
    let (first, second) = chunk.as_slices();
    scratch.extend_from_slice(first);
    scratch.extend_from_slice(second);
    chunk.commit_all();
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A ring's shared part is two indices, a pointer and a capacity: 32 bytes, unless each index has lines of its own.
    #[test]
    fn both_ends_of_every_ring_write_to_lines_of_their_own() {
        let workers: Vec<_> =
            (0..8).map(|_| (punt_ring(1 << 12, Arc::new(|| ())), inject_ring(1 << 12))).collect();
        let rings = workers.iter().flat_map(|((punt, _), (inject, _))| {
            [punt.urgent.buffer(), punt.other.buffer(), inject.ring.buffer()]
        });
        let mut places = Vec::new();
        for ring in rings {
            crate::testing::assert_own_lines(ring);
            assert!(
                size_of_val(ring) >= 3 * 128,
                "the two indices share a line: {} bytes",
                size_of_val(ring)
            );
            places.push(std::ptr::from_ref(ring).addr());
        }
        places.sort_unstable();
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= size_of::<RingBuffer<u8>>()));
    }

    #[test]
    fn records_come_out_as_they_went_in_across_the_wrap() {
        let rings = Arc::new(AtomicU32::new(0));
        let bell = Arc::clone(&rings);
        let doorbell: Doorbell = Arc::new(move || {
            bell.fetch_add(1, Ordering::Relaxed);
        });
        let (mut sender, mut receiver) = punt_ring(200, doorbell);
        for round in 0..50_u8 {
            let frame = vec![round; 60];
            sender.send_frame(PortId(3), PuntReason::EtherType, &frame).unwrap();
            let hop = IpAddr::V4(Ipv4Addr::new(192, 0, 2, round));
            sender.send_unresolved(InterfaceId(7), hop, &[round, 1]).unwrap();
            sender.ring_doorbell();
            sender.ring_doorbell();
            receiver
                .receive(|punted| {
                    let expected =
                        Punted::Frame { port: PortId(3), reason: PuntReason::EtherType, bytes: &frame };
                    assert_eq!(punted, expected);
                })
                .unwrap();
            receiver
                .receive(|punted| {
                    let packet = &[round, 1];
                    assert_eq!(
                        punted,
                        Punted::Unresolved { interface: InterfaceId(7), next_hop: hop, packet }
                    );
                })
                .unwrap();
            let event = ZeroChecksum {
                source: Ipv4Addr::new(203, 0, 113, round),
                destination: Ipv4Addr::new(192, 0, 2, 1),
                source_l4_port: 40_000,
                destination_l4_port: 53,
                suppressed: u64::MAX - u64::from(round),
            };
            sender.send_zero_checksum(event).unwrap();
            receiver.receive(|punted| assert_eq!(punted, Punted::ZeroChecksum(event))).unwrap();
            assert!(receiver.receive(|_| ()).is_none());
        }
        assert_eq!(rings.load(Ordering::Relaxed), 50, "one ring per burst");
    }

    #[test]
    fn what_is_urgent_comes_out_first_and_has_room_whatever_is_sent_to_the_box() {
        let (mut sender, mut receiver) = punt_ring(1000, Arc::new(|| ()));
        let mut offer = |reason| {
            std::iter::repeat_with(|| sender.send_frame(PortId(0), reason, &[0; 76]))
                .take(50)
                .filter(Result::is_ok)
                .count()
        };
        assert_eq!(offer(PuntReason::KernelRoute), 10, "1000 bytes hold ten records");
        assert_eq!(offer(PuntReason::LocalAddress), 5, "half of the urgent ring");
        assert_eq!(offer(PuntReason::RoutingProtocolDistant), 0);
        assert_eq!(offer(PuntReason::RoutingProtocol), 5, "the other half");
        let mut order = Vec::new();
        let mut note = |punted: Punted<'_>| match punted {
            Punted::Frame { reason, .. } => order.push(reason),
            other => panic!("{other:?}"),
        };
        assert!(receiver.receive_other(&mut note).is_some() && receiver.receive_urgent(&mut note).is_some());
        while receiver.receive(&mut note).is_some() {}
        let expected = [
            vec![PuntReason::KernelRoute, PuntReason::LocalAddress],
            vec![PuntReason::LocalAddress; 4],
            vec![PuntReason::RoutingProtocol; 5],
            vec![PuntReason::KernelRoute; 9],
        ];
        assert_eq!(order, expected.concat());
    }

    #[test]
    fn a_full_ring_refuses_and_keeps_what_it_holds() {
        let (mut sender, mut receiver) = inject_ring(100);
        sender.send(PortId(1), &[9; 70]).unwrap();
        assert_eq!(sender.send(PortId(1), &[8; 70]), Err(RingFull));
        assert_eq!(receiver.receive(), Some(Injected::Frame { port: PortId(1), bytes: &[9; 70] }));
        assert_eq!(receiver.receive(), None);
        sender.send(PortId(2), &[8; 70]).unwrap();
        assert_eq!(receiver.receive(), Some(Injected::Frame { port: PortId(2), bytes: &[8; 70] }));
    }
}
