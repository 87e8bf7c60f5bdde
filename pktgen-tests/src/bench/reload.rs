//! A million EAMs are replaced while packets flow: how many packets that costs, and how long it takes.

use std::path::Path;

use super::report::Collector;
use super::stand::Stand;
use super::traffic::{Direction, Size, Table, Traffic};
use super::{BenchError, Build};

/// Millions of packets per second that are offered meanwhile: so few that the rings hold what comes while the generator
/// is kept from its processor by the command, and that whatever is lost is lost to the change.
const MPPS: f64 = 0.2;

/// What the relay logs about a reload that took place, and about no other.
const DONE: &str = "publish_us=";

/// One replacement.
///
/// # Errors
/// When the relay or the generator fails.
pub(super) fn round(stand: &Stand, build: &Build, results: &mut Collector) -> Result<(), BenchError> {
    let traffic = Traffic::usual(Direction::Mixed, Size::SMALLEST, Table::Million);
    let (outcome, counters) = stand.reload(build, traffic, MPPS)?;
    #[expect(clippy::cast_precision_loss, reason = "fewer packets than 2^52")]
    let (lost, unfetched) = (outcome.lost as f64, counters.dropped_for("transmit_queue_full") as f64);
    results.add("reload_1m_lost_packets", "packets", lost);
    // Lost too, but not by the relay: the generator left them in the ring until it was full.
    results.add("reload_1m_unfetched_packets", "packets", unfetched);
    results.add("reload_1m_blocked_ms", "ms", (lost - unfetched).max(0.0) / (MPPS * 1000.0));
    if let Some(milliseconds) = outcome.command_ms {
        results.add("reload_1m_under_load_seconds", "s", milliseconds / 1000.0);
    }
    Ok(())
}

/// The same mappings with a comment on every hundredth: another file, another table, and the generator need not know.
pub(super) fn changed(eams: &str) -> String {
    let lines = eams.lines().enumerate().map(|(number, line)| {
        let comment = if number % 100 == 0 { ",moved" } else { "" };
        format!("{line}{comment}\n")
    });
    lines.collect()
}

/// The shell command that makes the relay read the next file, and ends when it has; it fails after a minute.
pub(super) fn command(next: &Path, current: &Path, pid: u32, log: &Path) -> String {
    format!(
        "mv {next} {current} && kill -HUP {pid} && timeout 60 sh -c 'until grep -q {DONE} {log}; do sleep 0.01; done'",
        next = next.display(),
        current = current.display(),
        log = log.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_file_has_the_same_mappings() {
        let eams: String =
            (0..101).map(|number| format!("192.0.2.{number}/32,2001:db8::{number}/128\n")).collect();
        let next = changed(&eams);
        assert_ne!(next, eams);
        assert_eq!(next.matches(",moved").count(), 2);
        assert_eq!(next.replace(",moved", ""), eams);
    }
}
