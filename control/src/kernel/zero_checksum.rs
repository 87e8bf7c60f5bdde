//! The management event for dropped UDP datagrams without checksum (RFC 7915 4.5): at most one line a second for the
//! whole relay, whatever arrives.

use std::time::{Duration, Instant};

use dataplane::exception::ZeroChecksum;

/// Least time between two lines.
const INTERVAL: Duration = Duration::from_secs(1);

/// Thins out the workers' events.
#[derive(Debug, Default)]
pub(super) struct ZeroChecksumLog {
    last: Option<Instant>,
    suppressed: u64,
}

impl ZeroChecksumLog {
    /// The event to log now, if any, with all that were suppressed since the last one.
    pub(super) fn offer(&mut self, event: ZeroChecksum, now: Instant) -> Option<ZeroChecksum> {
        if self.last.is_some_and(|last| now.duration_since(last) < INTERVAL) {
            self.suppressed += 1 + event.suppressed;
            return None;
        }
        self.last = Some(now);
        let suppressed = event.suppressed + std::mem::take(&mut self.suppressed);
        Some(ZeroChecksum { suppressed, ..event })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn one_line_a_second_tells_of_all() {
        let event = |suppressed| ZeroChecksum {
            source: Ipv4Addr::new(203, 0, 113, 50),
            destination: Ipv4Addr::new(192, 0, 2, 1),
            source_l4_port: 40_000,
            destination_l4_port: 53,
            suppressed,
        };
        let start = Instant::now();
        let mut log = ZeroChecksumLog::default();
        assert_eq!(log.offer(event(3), start), Some(event(3)));
        assert_eq!(log.offer(event(5), start + INTERVAL / 2), None, "another worker's");
        assert_eq!(log.offer(event(0), start + INTERVAL), Some(event(6)));
        assert_eq!(log.offer(event(0), start + 2 * INTERVAL), Some(event(0)));
    }
}
