//! How long packets take through the device, at half of the relay's highest rate.

use super::report::Collector;
use super::stand::{Stand, Subject};
use super::testpmd::Mode;
use super::traffic::{Direction, Size, Table, Traffic};
use super::{BenchError, Build};

/// The share of the relay's highest rate that is offered: no queue builds up.
const SHARE: f64 = 0.5;

/// One round over all directions: the relay, and testpmd at the same rate.
///
/// # Errors
/// When a device or the generator fails.
pub(super) fn round(stand: &Stand, build: &Build, results: &mut Collector) -> Result<(), BenchError> {
    for direction in Direction::ALL {
        let traffic = Traffic::usual(direction, Size::SMALLEST, Table::TenThousand);
        let relay = Subject::Relay { build, translation: "" };
        let mpps = stand.saturate(relay, traffic)?.mpps * SHARE;
        for (name, subject) in [("relay", relay), ("macswap", Subject::Testpmd(Mode::MacSwap))] {
            let latency = stand.latency(subject, traffic, mpps)?;
            let quantiles = [("p50", latency.p50), ("p99", latency.p99), ("p999", latency.p999)];
            for (quantile, value) in quantiles {
                results.add(&format!("latency_{name}_{}_{quantile}", direction.name()), "us", value);
            }
        }
    }
    Ok(())
}
