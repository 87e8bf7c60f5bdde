//! Latency, and how much it varies, under a load the device passes.

use super::{Load, Point, median};
use crate::pktgen::config::Rate;
use crate::pktgen::error::PktgenError;
use crate::pktgen::outcome::{Latency, rounded};
use crate::pktgen::report::Finding;

/// Typical and worst case latency: the medians over the repetitions of the median and of the 99.9th percentile. The trial
/// reported is the one with the typical latency.
pub(super) fn measure(point: &mut Point<'_>, load: f64) -> Result<(), PktgenError> {
    let (mut typical, mut worst) = (Vec::new(), Vec::new());
    under_load(point, "latency", load, |latency| {
        typical.push(latency.p50);
        worst.push(latency.p999);
        let finding = Finding {
            typical_latency_us: Some(median(&typical)),
            worst_case_latency_us: Some(median(&worst)),
            ..Finding::default()
        };
        (latency.p50, finding)
    })
}

/// The 99.9th percentile of the delay less its minimum.
pub(super) fn measure_variation(point: &mut Point<'_>, load: f64) -> Result<(), PktgenError> {
    under_load(point, "pdv", load, |latency| {
        let variation = rounded(latency.p999 - latency.min);
        (variation, Finding { pdv_us: Some(variation), ..Finding::default() })
    })
}

/// `value` gives what repetitions are ordered by, and what has been found so far.
fn under_load(
    point: &mut Point<'_>,
    procedure: &str,
    load: f64,
    mut value: impl FnMut(&Latency) -> (f64, Finding),
) -> Result<(), PktgenError> {
    let Some(Load { rate, throughput }) = point.load(load)? else {
        point.complain_of_nothing(procedure);
        return Ok(());
    };
    let mut last = Finding::default();
    let measured = point.repeat(|point| {
        let outcome = point.trial(Rate::PerSecond(rate))?;
        Ok(outcome.latency().map(|latency| {
            let (value, finding) = value(&latency);
            last = Finding { throughput_pps: throughput, ..finding };
            (value, outcome, last.clone())
        }))
    })?;
    match measured {
        Some((outcome, finding)) => {
            let finding = Finding {
                typical_latency_us: last.typical_latency_us,
                worst_case_latency_us: last.worst_case_latency_us,
                ..finding
            };
            point.report(procedure, &outcome, finding);
        }
        None => point.complain_of_nothing(procedure),
    }
    Ok(())
}
