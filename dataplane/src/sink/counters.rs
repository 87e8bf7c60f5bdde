//! What a worker counts: one writer per cell, written to shared memory once per burst, summed by control.
//!
//! At every moment between two bursts `received + originated = sent + punted + dropped` holds, where originated
//! is what the box adds: ICMP errors, the second and later fragments of a packet, and frames of the kernel.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use crate::timing::TimingCells;
use crate::verdict::{DropReason, PuntReason, Verdict, reasons};

reasons! {
    /// Counts that are not the end of a packet.
    Event {
        /// Frames received. Compare with the peer's sent frames; what is missing is the port's "missed".
        Received = "received",
        /// Bytes received, link-layer header included. The offered load, with `received` the mean size.
        ReceivedBytes = "received_bytes",
        /// Frames handed to a port. Compare with `received`; the difference is in the drops and punts
        /// below.
        Sent = "sent",
        /// Bytes handed to a port, link-layer header included. The delivered load.
        SentBytes = "sent_bytes",
        /// Frames that arrived in several buffers and were joined into one. A sender's frames are larger than the
        /// port's MTU asks for, or the driver splits them: slow, compare the MTUs.
        JoinedFrames = "joined_frames",
        /// ICMP errors originated by the relay. The drop reasons with an answer tell why; a sudden rise is
        /// a loop, a scan or a dead server.
        OriginatedIcmpErrors = "originated_icmp_errors",
        /// Second and later fragments made by the relay. See `fragmented_packets`.
        OriginatedFragments = "originated_fragments",
        /// Frames of the kernel sent through a twin: ARP, ND, routing protocols, resolved first packets.
        /// Zero means that nothing leaves the twins: are they up?
        OriginatedKernel = "originated_kernel",
        /// Packets translated from IPv4 to IPv6. The relay's work; if it stands still, is the service pool
        /// still routed to the relay?
        TranslatedV4ToV6 = "translated_v4_to_v6",
        /// Packets translated from IPv6 to IPv4. The relay's work; if it stands still, is the translation
        /// prefix still routed to the relay?
        TranslatedV6ToV4 = "translated_v6_to_v4",
        /// Packets turned round between two mapped hosts (RFC 7757 4.2.2). Hosts that use each other's
        /// service addresses; native IPv6 would spare them the way.
        Hairpinned = "hairpinned",
        /// Packets forwarded without translation. Traffic that only passes by: route it around the relay if
        /// it is much.
        Native = "native",
        /// Translated packets that were ICMP errors. A sudden rise comes with an outage behind or before
        /// the relay.
        TranslatedIcmpErrors = "translated_icmp_errors",
        /// Translated packet too big and fragmentation needed messages among them. Path MTU discovery at
        /// work; zero for long while connections hang means that somebody filters ICMP.
        TranslatedPacketTooBig = "translated_packet_too_big",
        /// Translated packets that were fragments. If it is much, some sender ignores the path MTU: raise
        /// the MTU between relay and servers to 1520.
        TranslatedFragments = "translated_fragments",
        /// Packets the relay had to fragment. IPv4 packets without DF: raise lowest_ipv6_mtu (and the MTU
        /// of the IPv6 side) to 1520 to avoid it.
        FragmentedPackets = "fragmented_packets",
        /// ICMP errors not sent because of the rate limit. Raise icmp_error_rate if this grows in peace
        /// time.
        IcmpErrorsRateLimited = "icmp_errors_rate_limited",
        /// ICMP errors not sent because icmp_errors is off. Path MTU discovery suffers: use "limit".
        IcmpErrorsOff = "icmp_errors_off",
        /// ICMP errors not sent because the rules forbid one: about an ICMP error, a later fragment, a
        /// multicast. Nothing to do.
        IcmpErrorsForbidden = "icmp_errors_forbidden",
        /// ICMP errors not sent for lack of a route, a source address or a buffer. Has the twin an address
        /// of that family, and is there a route back to the sender?
        IcmpErrorsUnsendable = "icmp_errors_unsendable",
        /// Bursts with at least one frame. `received` divided by this is the mean burst: near 64 the worker
        /// is at its limit.
        Bursts = "bursts",
        /// TSC cycles of turns with frames, received or of the kernel. Their share of busy and idle cycles is the load of
        /// a worker; with `poll = "busy"` top shows 100 % either way.
        BusyCycles = "busy_cycles",
        /// TSC cycles of turns that found nothing to do, with the pause or sleep after them. What is left of the worker.
        IdleCycles = "idle_cycles",
        /// TSC cycles among the idle ones of turns that ended in a sleep. What the worker leaves to others; none with
        /// `poll = "busy"`, or where a link is too fast for its descriptors to sleep at all.
        SleepCycles = "sleep_cycles",
    }
}

const EVENTS: usize = Event::ALL.len();
const PUNTS: usize = PuntReason::ALL.len();
const DROPS: usize = DropReason::ALL.len();
const CELLS: usize = EVENTS + PUNTS + DROPS;

/// The counts of one worker, or of several added up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts([u64; CELLS]);

impl Default for Counts {
    fn default() -> Self {
        Self([0; CELLS])
    }
}

impl Counts {
    /// Counts one event.
    #[inline]
    pub fn count(&mut self, event: Event) {
        self.add(event, 1);
    }

    /// Adds to an event.
    #[inline]
    pub fn add(&mut self, event: Event, amount: u64) {
        self.0[event.index()] += amount;
    }

    /// Counts how a packet ended: for the sink alone, where packets end.
    #[inline]
    pub(super) fn end(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Punted(reason) => self.0[EVENTS + reason.index()] += 1,
            Verdict::Dropped(reason) => self.0[EVENTS + PUNTS + reason.index()] += 1,
        }
    }

    /// The count of an event.
    #[must_use]
    pub const fn event(&self, event: Event) -> u64 {
        self.0[event.index()]
    }

    /// Packets punted for a reason.
    #[must_use]
    pub const fn punted(&self, reason: PuntReason) -> u64 {
        self.0[EVENTS + reason.index()]
    }

    /// Packets dropped for a reason.
    #[must_use]
    pub const fn dropped(&self, reason: DropReason) -> u64 {
        self.0[EVENTS + PUNTS + reason.index()]
    }

    /// Packets the box added.
    #[must_use]
    pub fn originated(&self) -> u64 {
        [Event::OriginatedIcmpErrors, Event::OriginatedFragments, Event::OriginatedKernel]
            .iter()
            .map(|event| self.event(*event))
            .sum()
    }

    /// Packets punted, all reasons.
    #[must_use]
    pub fn all_punted(&self) -> u64 {
        self.0[EVENTS..EVENTS + PUNTS].iter().sum()
    }

    /// Packets dropped, all reasons.
    #[must_use]
    pub fn all_dropped(&self) -> u64 {
        self.0[EVENTS + PUNTS..].iter().sum()
    }

    /// Counts up to `amount` punted packets as dropped: those the control thread could not bring to their end. Takes no more
    /// than were punted, for a worker's counts may be a moment older than the control thread's.
    pub fn lose(&mut self, punted: PuntReason, dropped: DropReason, amount: u64) {
        let amount = amount.min(self.punted(punted));
        self.0[EVENTS + punted.index()] -= amount;
        self.0[EVENTS + PUNTS + dropped.index()] += amount;
    }

    /// Packets that came and have not ended: `received + originated - sent - punted - dropped`. Zero between two turns; a
    /// packet that ended without a verdict, or with two, is a bug.
    #[must_use]
    pub fn unsettled(&self) -> i64 {
        let came = self.event(Event::Received) + self.originated();
        let ended = self.event(Event::Sent) + self.all_punted() + self.all_dropped();
        came.wrapping_sub(ended).cast_signed()
    }

    /// Adds another worker's counts.
    pub fn merge(&mut self, other: &Self) {
        for (cell, more) in self.0.iter_mut().zip(&other.0) {
            *cell += more;
        }
    }
}

/// One worker's counts as control sees them.
pub struct CounterCells {
    cells: CachePadded<[AtomicU64; CELLS]>,
    /// Where the worker's time goes.
    pub timing: TimingCells,
}

impl Default for CounterCells {
    fn default() -> Self {
        let cells = CachePadded::new(std::array::from_fn(|_| AtomicU64::new(0)));
        Self { cells, timing: TimingCells::default() }
    }
}

impl CounterCells {
    /// Publishes a worker's counts. Only that worker calls this.
    #[inline]
    pub fn store(&self, counts: &Counts) {
        for (cell, count) in self.cells.iter().zip(&counts.0) {
            cell.store(*count, Ordering::Relaxed);
        }
    }

    /// The counts as of the worker's last burst.
    #[must_use]
    pub fn load(&self) -> Counts {
        Counts(std::array::from_fn(|cell| self.cells[cell].load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn every_kind_has_its_own_cell() {
        let mut counts = Counts::default();
        for (amount, event) in (1..).zip(Event::ALL) {
            counts.add(*event, amount);
        }
        for reason in PuntReason::ALL {
            counts.end(Verdict::Punted(*reason));
        }
        for reason in DropReason::ALL {
            counts.end(Verdict::Dropped(*reason));
            counts.end(Verdict::Dropped(*reason));
        }
        let cells = CounterCells::default();
        cells.store(&counts);
        let mut sum = cells.load();
        assert_eq!(sum, counts);
        sum.merge(&counts);
        for (amount, event) in (1..).zip(Event::ALL) {
            assert_eq!(sum.event(*event), 2 * amount, "{}", event.name());
        }
        assert!(PuntReason::ALL.iter().all(|reason| sum.punted(*reason) == 2));
        assert!(DropReason::ALL.iter().all(|reason| sum.dropped(*reason) == 4));
        assert_eq!(sum.all_dropped(), 4 * DROPS as u64);
        assert_eq!(sum.all_punted(), 2 * PUNTS as u64);
    }

    #[test]
    fn what_is_lost_on_the_exception_path_is_dropped_and_no_longer_punted() {
        let mut counts = Counts::default();
        for _ in 0..5 {
            counts.end(Verdict::Punted(PuntReason::UnresolvedNextHop));
        }
        counts.lose(PuntReason::UnresolvedNextHop, DropReason::NeighborFailed, 3);
        counts.lose(PuntReason::UnresolvedNextHop, DropReason::NeighborWaitExpired, 4);
        assert_eq!(counts.punted(PuntReason::UnresolvedNextHop), 0);
        assert_eq!(counts.dropped(DropReason::NeighborFailed), 3);
        assert_eq!(counts.dropped(DropReason::NeighborWaitExpired), 2, "no more than were punted");
        assert_eq!(counts.all_punted() + counts.all_dropped(), 5);
    }

    #[test]
    fn the_cells_of_two_workers_never_share_a_cache_line() {
        let workers: Vec<Arc<CounterCells>> = (0..16).map(|_| Arc::default()).collect();
        workers.iter().for_each(|cells| crate::testing::assert_own_lines(&**cells));
        let mut places: Vec<usize> = workers.iter().map(|cells| Arc::as_ptr(cells).addr()).collect();
        places.sort_unstable();
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= size_of::<CounterCells>()), "{places:?}");
    }

    #[test]
    fn names_are_unique_snake_case() {
        let names: Vec<&str> = Event::ALL
            .iter()
            .map(|event| event.name())
            .chain(PuntReason::ALL.iter().map(|reason| reason.name()))
            .chain(DropReason::ALL.iter().map(|reason| reason.name()))
            .collect();
        let unique: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len());
        assert!(names.iter().all(|name| {
            name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        }));
    }
}
