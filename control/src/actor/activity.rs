//! What each port hears and sends now, and since when it has not: its driver's counts, looked at once a second.

use std::time::{Duration, Instant};

use super::machine::Machine;

/// One direction of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flow {
    /// Packets a second, over the last second or so.
    pub packets_per_second: u64,
    /// Bits a second, as the driver counts bytes.
    pub bits_per_second: u64,
    /// Time since the last packet, to the second; none if there was none since the start.
    pub idle: Option<Duration>,
}

/// Both directions of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Activity {
    /// From the cable.
    pub received: Flow,
    /// To the cable.
    pub sent: Flow,
}

#[derive(Default, Clone, Copy)]
struct Direction {
    packets: u64,
    bytes: u64,
    packets_per_second: u64,
    bits_per_second: u64,
    last: Option<Instant>,
}

impl Direction {
    fn look(&mut self, packets: u64, bytes: u64, elapsed: Duration, now: Instant) {
        // A driver that begins anew counts from 0.
        let (more, more_bytes) = (packets.saturating_sub(self.packets), bytes.saturating_sub(self.bytes));
        self.packets_per_second = rate(more, elapsed);
        self.bits_per_second = rate(more_bytes.saturating_mul(8), elapsed);
        if more > 0 {
            self.last = Some(now);
        }
        (self.packets, self.bytes) = (packets, bytes);
    }

    fn flow(&self, now: Instant) -> Flow {
        Flow {
            packets_per_second: self.packets_per_second,
            bits_per_second: self.bits_per_second,
            idle: self.last.map(|last| now.saturating_duration_since(last)),
        }
    }
}

fn rate(amount: u64, elapsed: Duration) -> u64 {
    let micros = elapsed.as_micros().max(1);
    u64::try_from(u128::from(amount) * 1_000_000 / micros).unwrap_or(u64::MAX)
}

/// All ports.
#[derive(Default)]
pub(super) struct Activities {
    ports: Vec<[Direction; 2]>,
    looked: Option<Instant>,
}

impl Activities {
    /// Looks at every driver's counts; once a second.
    pub(super) fn tick(&mut self, machine: &impl Machine, now: Instant) {
        let elapsed = self.looked.map_or(Duration::from_secs(1), |looked| now.duration_since(looked));
        self.looked = Some(now);
        self.ports.resize(machine.ports().len(), Default::default());
        for (port, [received, sent]) in self.ports.iter_mut().enumerate() {
            let counts = machine.port_counts(port);
            received.look(counts.received, counts.received_bytes, elapsed, now);
            sent.look(counts.sent, counts.sent_bytes, elapsed, now);
        }
    }

    /// Of one port.
    pub(super) fn of(&self, port: usize, now: Instant) -> Activity {
        self.ports.get(port).map_or_else(Activity::default, |[received, sent]| Activity {
            received: received.flow(now),
            sent: sent.flow(now),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_silence_are_told() {
        let (mut direction, start) = (Direction::default(), Instant::now());
        let second = Duration::from_secs(1);
        assert_eq!(direction.flow(start).idle, None, "nothing yet");
        direction.look(1000, 64_000, second, start + second);
        let flow = direction.flow(start + second);
        assert_eq!((flow.packets_per_second, flow.bits_per_second), (1000, 512_000));
        assert_eq!(flow.idle, Some(Duration::ZERO));
        direction.look(1500, 96_000, second / 2, start + second * 3 / 2);
        assert_eq!(direction.flow(start + second * 2).packets_per_second, 1000);
        direction.look(1500, 96_000, second, start + second * 10);
        let flow = direction.flow(start + second * 10);
        assert_eq!((flow.packets_per_second, flow.idle), (0, Some(second * 17 / 2)));
        // Counted anew.
        direction.look(3, 180, second, start + second * 11);
        assert_eq!(direction.flow(start + second * 11).packets_per_second, 0);
        direction.look(4, 240, second, start + second * 12);
        assert_eq!(direction.flow(start + second * 12).packets_per_second, 1);
    }
}
