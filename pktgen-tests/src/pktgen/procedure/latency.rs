//! Latency, and how much it varies, under a load the device passes.

use super::{Load, Point};
use crate::pktgen::config::Rate;
use crate::pktgen::error::PktgenError;
use crate::pktgen::outcome::{Latency, rounded};
use crate::pktgen::report::Finding;

/// The result is the repetition with the median of the medians.
pub(super) fn measure(point: &mut Point<'_>, load: f64) -> Result<(), PktgenError> {
    under_load(point, "latency", load, |latency| (latency.p50, None))
}

/// The 99.9th percentile of the delay less its minimum (RFC 8219 7.3.1).
pub(super) fn measure_variation(point: &mut Point<'_>, load: f64) -> Result<(), PktgenError> {
    under_load(point, "pdv", load, |latency| {
        let variation = rounded(latency.p999 - latency.min);
        (variation, Some(variation))
    })
}

/// `value` of a trial's latencies is what repetitions are ordered by, and the variation if it is wanted.
fn under_load(
    point: &mut Point<'_>,
    procedure: &str,
    load: f64,
    value: impl Fn(&Latency) -> (f64, Option<f64>),
) -> Result<(), PktgenError> {
    let Some(Load { rate, throughput }) = point.load(load)? else {
        point.complain_of_nothing(procedure);
        return Ok(());
    };
    let measured = point.repeat(|point| {
        let outcome = point.trial(Rate::PerSecond(rate))?;
        Ok(outcome.latency().map(|latency| {
            let (value, pdv_us) = value(&latency);
            (value, outcome, Finding { throughput_pps: throughput, pdv_us, ..Finding::default() })
        }))
    })?;
    match measured {
        Some((outcome, finding)) => point.report(procedure, &outcome, finding),
        None => point.complain_of_nothing(procedure),
    }
    Ok(())
}
