//! Captures: what a packet was when it came, what it was when it went, and what became of it, as one record.
//!
//! Enters, on a worker: every burst as it was received, what each packet of it had put onto the bursts of ports, and how it
//! ended. Leaves, on any other thread: [`Captured`] packets that pass the [`Filter`] of a capture, by [`Capture::drain`].
//!
//! ```text
//!  received: copies of the burst          \
//!  each packet: what waits for ports since  > filter -> rate -> ring of the capture
//!               it was taken, its end      /
//!  refused by a port: the record is taken back, by a second one
//! ```
//!
//! A packet is known by its place: a worker takes the packets of a burst one after the other, so what is put onto a port's
//! burst in the meantime comes from the one that is being taken, be it translated in its own buffer, cut into fragments or
//! answered. Nothing of it has to be found again.
//!
//! Without a capture a worker looks once a turn whether one has come, and tests a flag for each burst and for each packet that is not sent. With
//! one, it copies every packet and asks the filter; what passes goes into a ring of fixed size, as long as the rate allows.
//! What does not fit is counted by the gap in the numbers of the records. Buffers and filters are made and given back by the
//! other side: a worker never allocates or frees.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arrayvec::ArrayVec;
use rtrb::{Consumer, Producer, RingBuffer};

use super::filter::{Fate, Filter, Seen, Side};
use crate::buffer::Buffer;
use crate::io::BURST;
use crate::limit::TokenBucket;
use crate::ring::{read_record, write_parts};
use crate::table::routing::PortId;
use crate::verdict::{DropReason, PuntReason, Verdict};
use crate::walk::{End, Way};

/// Captures at a time. Each has a ring of 1 MB on every worker, and every filter is asked about every packet: enough for some
/// operators with a trace or two each, and memory and time that are known beforehand.
pub const CAPTURES: usize = 8;
/// Bytes that are kept of one side of a packet at most.
pub const LONGEST: usize = 9600;
/// What a packet may become: pieces that are kept.
pub const PIECES: usize = 5;
/// Bytes of the ring of one capture and worker.
const RING: usize = 1 << 20;

/// ```text
///  0     2      3      4        5       6      8              16             24         28      30      31      32
///  +-----+------+------+--------+-------+------+--------------+--------------+----------+-------+-------+-------+----
///  | len | kind | fate | reason | lane  | port | number       | cycles       | length   | kept  | pieces| of    | ...
///  +-----+------+------+--------+-------+------+--------------+--------------+----------+-------+-------+-------+----
/// ```
const HEADER: usize = 32;
const KIND_PACKET: u8 = 0;
const KIND_REFUSED: u8 = 1;
/// Port, kept, length: in front of the bytes of each piece.
const PIECE: usize = 8;

/// How a packet came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Walked {
    /// The walk, or the lane, sent it.
    Sent(Way),
    /// Refused, and answered with an ICMP error or not.
    Refused {
        /// With an ICMP error.
        answered: bool,
    },
    /// The kernel's, or nobody's.
    Else,
}

impl Walked {
    #[inline(always)]
    pub(crate) fn of<B>(end: &End<B>) -> Self {
        match *end {
            End::Forwarded(way) => Self::Sent(way),
            End::Dropped { answered, .. } => Self::Refused { answered },
            End::Punted(..) => Self::Else,
        }
    }
}

/// What a worker and the other side share of one capture.
struct Cells {
    stop: AtomicBool,
    /// Packets that passed the filter.
    matched: AtomicU64,
    /// Of those, by the port they were received on; and frames they became, by the port these were sent by.
    ports: Box<[(AtomicU64, AtomicU64)]>,
}

/// One capture on one worker.
pub struct Order {
    filter: Filter,
    snap: usize,
    bucket: TokenBucket,
    ring: Producer<u8>,
    cells: Arc<Cells>,
    /// Packets that passed the filter.
    number: u64,
}

/// What a capture wants.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Which packets.
    pub filter: Filter,
    /// Bytes of each side.
    pub snap: usize,
    /// Packets a second, of one worker.
    pub rate: u32,
    /// Ports of the relay.
    pub ports: usize,
    /// Cycles of the worker's clock in a second.
    pub hertz: u64,
}

/// The other side of one capture on one worker. Dropping it ends it.
pub struct Capture {
    ring: Consumer<u8>,
    cells: Arc<Cells>,
    scratch: Vec<u8>,
}

/// A frame a packet became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The port it was handed to.
    pub port: PortId,
    /// Its bytes.
    pub length: usize,
    /// The first of them.
    pub bytes: &'a [u8],
}

/// What a ring holds.
#[allow(clippy::large_enum_variant, reason = "borrowed from the ring, one at a time, and never kept")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Captured<'a> {
    /// A packet.
    Packet {
        /// Its number among those of the worker that passed the filter, from 1 on: a gap tells what was lost.
        number: u64,
        /// The turn it was taken in, in cycles of the worker's clock.
        cycles: u64,
        /// The port it was received on.
        port: PortId,
        /// What became of it.
        fate: Fate,
        /// It took the express lane.
        express: bool,
        /// Bytes of the frame as it was received.
        length: usize,
        /// The first of them.
        before: &'a [u8],
        /// What was sent, in order, as far as it is kept.
        after: ArrayVec<Piece<'a>, PIECES>,
        /// How many frames were sent; more than are kept, if there were many.
        pieces: usize,
    },
    /// A port did not take what a packet had become: it was dropped as `transmit_queue_full`. Comes soon after the packet.
    Refused {
        /// The packet's number.
        number: u64,
    },
}

/// Starts a capture: one half for [`TapSender::send`], the other to read.
#[must_use]
pub fn capture(wanted: Wanted) -> (Box<Order>, Capture) {
    let (ring, consumer) = RingBuffer::new(RING);
    let ports = (0..wanted.ports).map(|_| Default::default()).collect();
    let cells = Arc::new(Cells { stop: AtomicBool::new(false), matched: AtomicU64::new(0), ports });
    let order = Order {
        filter: wanted.filter,
        snap: wanted.snap.clamp(1, LONGEST),
        bucket: TokenBucket::new(wanted.rate.max(1), wanted.rate.max(1), wanted.hertz),
        ring,
        cells: Arc::clone(&cells),
        number: 0,
    };
    (Box::new(order), Capture { ring: consumer, cells, scratch: Vec::new() })
}

impl Capture {
    /// Packets that passed the filter so far, whatever became of their records.
    #[must_use]
    pub fn matched(&self) -> u64 {
        self.cells.matched.load(Ordering::Relaxed)
    }

    /// Packets that passed the filter: received on the port, and frames they became that were handed to it.
    #[must_use]
    pub fn of_port(&self, port: usize) -> (u64, u64) {
        let count = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        self.cells.ports.get(port).map_or((0, 0), |(before, after)| (count(before), count(after)))
    }

    /// Asks the worker to stop. What it has put into the ring stays.
    pub fn stop(&self) {
        self.cells.stop.store(true, Ordering::Relaxed);
    }

    /// Hands up to `most` records to `handle`; whether there may be more.
    pub fn drain(&mut self, most: usize, mut handle: impl FnMut(Captured<'_>)) -> bool {
        for _ in 0..most {
            let Some(header) = read_record::<HEADER>(&mut self.ring, &mut self.scratch) else { return false };
            handle(record(&header, &self.scratch));
        }
        true
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop();
    }
}

fn record<'a>(header: &[u8; HEADER], bytes: &'a [u8]) -> Captured<'a> {
    let word = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
    let long = |at: usize| header[at..].first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes));
    let number = long(8);
    if header[2] == KIND_REFUSED {
        return Captured::Refused { number };
    }
    let length = u32::from_ne_bytes([header[24], header[25], header[26], header[27]]);
    let (before, mut rest) = bytes.split_at(usize::from(word(28)));
    let mut after = ArrayVec::new();
    for _ in 0..header[30] {
        let (head, tail) = rest.split_at(PIECE);
        let word = |at: usize| u16::from_ne_bytes([head[at], head[at + 1]]);
        let (bytes, tail) = tail.split_at(usize::from(word(2)));
        let length = u32::from_ne_bytes([head[4], head[5], head[6], head[7]]);
        after.push(Piece { port: PortId(word(0)), length: size(length), bytes });
        rest = tail;
    }
    Captured::Packet {
        number,
        cycles: long(16),
        port: PortId(word(6)),
        fate: fate_of(header[3], header[4]),
        express: header[5] == 1,
        length: size(length),
        before,
        after,
        pieces: usize::from(header[31]),
    }
}

fn size(length: u32) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

const fn code_of(fate: Fate) -> (u8, u8) {
    match fate {
        Fate::Translated => (0, 0),
        Fate::Hairpinned => (1, 0),
        Fate::Native => (2, 0),
        Fate::IcmpError(reason) => (3, reason as u8),
        Fate::Dropped(reason) => (4, reason as u8),
        Fate::Punted(reason) => (5, reason as u8),
    }
}

fn fate_of(fate: u8, reason: u8) -> Fate {
    let reason = usize::from(reason);
    match fate {
        0 => Fate::Translated,
        1 => Fate::Hairpinned,
        2 => Fate::Native,
        3 => Fate::IcmpError(DropReason::ALL[reason]),
        4 => Fate::Dropped(DropReason::ALL[reason]),
        _ => Fate::Punted(PuntReason::ALL[reason]),
    }
}

/// Sends captures to one worker, and takes back what is over.
pub struct TapSender {
    orders: Producer<Box<Order>>,
    over: Consumer<Box<Order>>,
}

/// The worker has as many captures as it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{CAPTURES} captures are under way")]
pub struct Busy;

impl TapSender {
    /// Has the worker begin with its next turn.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn send(&mut self, order: Box<Order>) -> Result<(), Busy> {
        self.orders.push(order).map_err(|_| Busy)
    }

    /// Frees what the worker is done with. Now and then.
    pub fn reclaim(&mut self) {
        while self.over.pop().is_ok() {}
    }
}

/// What a frame on a port's burst was captured as, by capture: 0 for not.
type Numbers = [u64; CAPTURES];

/// A copy of one side of a packet, in the space of the tap.
#[derive(Clone, Copy)]
struct Kept {
    port: PortId,
    length: u32,
    kept: u16,
    /// Its place on the port's burst, as long as it is there.
    waits: Option<usize>,
}

impl Kept {
    const NONE: Self = Self { port: PortId(0), length: 0, kept: 0, waits: None };
}

/// The worker's end.
pub struct Tap {
    orders: Consumer<Box<Order>>,
    over: Producer<Box<Order>>,
    active: ArrayVec<Box<Order>, CAPTURES>,
    now: u64,
    /// The burst that is being taken.
    port: PortId,
    before: [Kept; BURST],
    /// [`LONGEST`] bytes for each packet of a burst, then for each piece of the packet that is being taken.
    space: Vec<u8>,
    after: ArrayVec<Kept, PIECES>,
    pieces: usize,
    ended: Option<Verdict>,
    /// Frames on each port's burst that are known, and what they were captured as.
    known: Vec<ArrayVec<Numbers, BURST>>,
}

/// Both ends of the captures of one worker with so many ports.
#[must_use]
pub fn tap(ports: usize) -> (Tap, TapSender) {
    let (sender, orders) = RingBuffer::new(CAPTURES);
    let (over, reclaimed) = RingBuffer::new(2 * CAPTURES);
    let tap = Tap {
        orders,
        over,
        active: ArrayVec::new(),
        now: 0,
        port: PortId(0),
        before: [Kept::NONE; BURST],
        // Pages of zeros that nobody has touched take no memory.
        space: vec![0; (BURST + PIECES) * LONGEST],
        after: ArrayVec::new(),
        pieces: 0,
        ended: None,
        known: (0..ports).map(|_| ArrayVec::new()).collect(),
    };
    (tap, TapSender { orders: sender, over: reclaimed })
}

impl Tap {
    /// Whether anything is captured.
    #[inline]
    pub(super) fn is_active(&self) -> bool {
        !self.active.is_empty()
    }

    /// It is `now`. Once per turn, when nothing waits for a port.
    #[inline]
    pub(super) fn begin_turn(&mut self, now: u64) {
        if self.is_active() || !self.orders.is_empty() {
            self.look(now);
        }
    }

    #[cold]
    fn look(&mut self, now: u64) {
        self.now = now;
        let mut place = 0;
        while let Some(order) = self.active.get_mut(place) {
            if order.cells.stop.load(Ordering::Relaxed) && !self.over.is_full() {
                let order = self.active.swap_remove(place);
                // There is room, and nobody else takes it.
                drop(self.over.push(order));
            } else {
                order.bucket.refill(now);
                place += 1;
            }
        }
        while !self.active.is_full()
            && let Ok(mut order) = self.orders.pop()
        {
            order.bucket.refill(now);
            self.active.push(order);
        }
        // Captures have other places now.
        self.known.iter_mut().for_each(ArrayVec::clear);
    }

    /// Bytes of a packet that some capture keeps.
    fn snap(&self) -> usize {
        self.active.iter().map(|order| order.snap).max().unwrap_or(0)
    }

    /// A burst as `port` delivered it.
    #[cold]
    pub(crate) fn received<B: Buffer>(&mut self, port: PortId, frames: &[B]) {
        self.port = port;
        let snap = self.snap();
        for (at, frame) in frames.iter().enumerate() {
            self.before[at] = self.copy(at, port, frame.data(), snap);
        }
    }

    fn copy(&mut self, place: usize, port: PortId, data: &[u8], snap: usize) -> Kept {
        let bytes = &data[..data.len().min(snap)];
        self.space[place * LONGEST..][..bytes.len()].copy_from_slice(bytes);
        Kept {
            port,
            waits: None,
            length: u32::try_from(data.len()).unwrap_or(u32::MAX),
            kept: u16::try_from(bytes.len()).unwrap_or(u16::MAX),
        }
    }

    /// What waits for `port` is nobody's whom a capture has seen, unless it is known.
    pub(crate) fn forget<B: Buffer>(&mut self, port: PortId, frames: &[B]) {
        if let Some(known) = self.known.get_mut(usize::from(port.0)) {
            while known.len() < frames.len() && known.try_push([0; CAPTURES]).is_ok() {}
        }
    }

    /// The next packet of the burst is taken.
    pub(crate) fn begin(&mut self) {
        self.after.clear();
        (self.pieces, self.ended) = (0, None);
    }

    /// The packet that is being taken has ended.
    #[cold]
    pub(crate) fn ended(&mut self, verdict: Verdict) {
        self.ended.get_or_insert(verdict);
    }

    /// These frames wait for `port`: those that are not known are what the packet has become.
    pub(crate) fn queued<B: Buffer>(&mut self, port: PortId, frames: &[B]) {
        let snap = self.snap();
        let Some(known) = self.known.get(usize::from(port.0)) else { return };
        for (waits, frame) in frames.iter().enumerate().skip(known.len()) {
            self.pieces += 1;
            if !self.after.is_full() {
                let copy = self.copy(BURST + self.after.len(), port, frame.data(), snap);
                self.after.push(Kept { waits: Some(waits), ..copy });
            }
        }
        self.forget(port, frames);
    }

    /// The packet at this place of the burst is done.
    #[cold]
    pub(crate) fn done(&mut self, at: usize, walked: Walked, express: bool) {
        let Some(fate) = self.fate(walked) else { return };
        let after = self.after.first().copied();
        let seen = Seen {
            before: Side::of_frame(self.side(at, self.before[at])),
            after: after.map(|copy| Side::of_frame(self.side(BURST, copy))).unwrap_or_default(),
            port: self.port,
            out: after.map(|copy| copy.port),
            fate,
        };
        let mut numbers = [0; CAPTURES];
        for (place, number) in numbers.iter_mut().enumerate().take(self.active.len()) {
            if self.active[place].filter.matches(&seen) {
                *number = self.keep(place, at, fate, express);
            }
        }
        self.mark(numbers);
    }

    fn fate(&self, walked: Walked) -> Option<Fate> {
        let ended = |verdict: Verdict| match verdict {
            Verdict::Dropped(reason) => Fate::Dropped(reason),
            Verdict::Punted(reason) => Fate::Punted(reason),
        };
        match (walked, self.ended) {
            (Walked::Refused { answered: true }, Some(Verdict::Dropped(reason))) => {
                Some(Fate::IcmpError(reason))
            }
            (_, Some(verdict)) => Some(ended(verdict)),
            (Walked::Sent(Way::Translated), None) => Some(Fate::Translated),
            (Walked::Sent(Way::Hairpinned), None) => Some(Fate::Hairpinned),
            (Walked::Sent(Way::Native), None) => Some(Fate::Native),
            (Walked::Refused { .. } | Walked::Else, None) => None,
        }
    }

    fn side(&self, place: usize, copy: Kept) -> &[u8] {
        &self.space[place * LONGEST..][..usize::from(copy.kept)]
    }

    /// Writes a record, if rate and ring allow it; returns the packet's number, or 0 without a record.
    fn keep(&mut self, place: usize, at: usize, fate: Fate, express: bool) -> u64 {
        let Self { active, before, space, after, pieces, now, port, .. } = self;
        let Order { snap, bucket, ring, cells, number, .. } = &mut *active[place];
        *number += 1;
        cells.matched.store(*number, Ordering::Relaxed);
        cells.count(*port, after);
        if !bucket.take() {
            return 0;
        }
        let kept = |copy: &Kept| usize::from(copy.kept).min(*snap);
        let bytes = |place: usize, copy: &Kept| &space[place * LONGEST..][..kept(copy)];
        let heads: ArrayVec<[u8; PIECE], PIECES> = after.iter().map(|copy| copy.head(kept(copy))).collect();
        let mut parts = ArrayVec::<&[u8], { 1 + 2 * PIECES }>::new();
        parts.push(bytes(at, &before[at]));
        for (piece, (head, copy)) in heads.iter().zip(&*after).enumerate() {
            parts.push(head);
            parts.push(bytes(BURST + piece, copy));
        }
        let mut header = header(KIND_PACKET, *number);
        (header[3], header[4]) = code_of(fate);
        header[5] = u8::from(express);
        header[6..8].copy_from_slice(&port.0.to_ne_bytes());
        header[16..24].copy_from_slice(&now.to_ne_bytes());
        header[24..28].copy_from_slice(&before[at].length.to_ne_bytes());
        header[28..30].copy_from_slice(&word(kept(&before[at])).to_ne_bytes());
        header[30] = u8::try_from(after.len()).unwrap_or(u8::MAX);
        header[31] = u8::try_from(*pieces).unwrap_or(u8::MAX);
        if write_parts(ring, &mut header, &parts).is_err() { 0 } else { *number }
    }

    /// Remembers what the frames of the packet were captured as.
    fn mark(&mut self, numbers: Numbers) {
        if numbers == [0; CAPTURES] {
            return;
        }
        for copy in &self.after {
            let known = self.known.get_mut(usize::from(copy.port.0));
            if let Some(known) = known.zip(copy.waits).and_then(|(known, place)| known.get_mut(place)) {
                *known = numbers;
            }
        }
    }

    /// `port` was offered its burst and did not take the frames from `first` on.
    #[cold]
    pub(crate) fn offered(&mut self, port: PortId, first: usize) {
        let Some(known) = self.known.get_mut(usize::from(port.0)) else { return };
        for numbers in known.iter().skip(first) {
            for (order, number) in self.active.iter_mut().zip(numbers).filter(|(_, number)| **number != 0) {
                // Without room, the record says less than it could.
                write_parts(&mut order.ring, &mut header(KIND_REFUSED, *number), &[]).ok();
            }
        }
        known.clear();
        for copy in self.after.iter_mut().filter(|copy| copy.port == port) {
            copy.waits = None;
        }
    }
}

impl Cells {
    /// Only the worker counts.
    fn count(&self, port: PortId, after: &[Kept]) {
        let add = |cell: &AtomicU64| cell.store(cell.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        if let Some((before, _)) = self.ports.get(usize::from(port.0)) {
            add(before);
        }
        for copy in after {
            if let Some((_, after)) = self.ports.get(usize::from(copy.port.0)) {
                add(after);
            }
        }
    }
}

impl Kept {
    fn head(&self, kept: usize) -> [u8; PIECE] {
        let mut head = [0; PIECE];
        head[0..2].copy_from_slice(&self.port.0.to_ne_bytes());
        head[2..4].copy_from_slice(&word(kept).to_ne_bytes());
        head[4..8].copy_from_slice(&self.length.to_ne_bytes());
        head
    }
}

fn word(kept: usize) -> u16 {
    u16::try_from(kept).unwrap_or(u16::MAX)
}

fn header(kind: u8, number: u64) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[2] = kind;
    header[8..16].copy_from_slice(&number.to_ne_bytes());
    header
}
