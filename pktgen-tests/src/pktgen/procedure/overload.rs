//! What a device still forwards of many flows, against what it forwards of one. Unless configured, many are a million.

use super::Point;
use crate::pktgen::config::Config;
use crate::pktgen::error::PktgenError;
use crate::pktgen::report::Finding;

const MANY: u32 = 1_000_000;

pub(super) fn measure(point: &mut Point<'_>) -> Result<(), PktgenError> {
    let flows = |flows| {
        let mut config = point.config.clone();
        config.traffic.flows = flows;
        config
    };
    let one = flows(1);
    let many = flows(if point.config.traffic.flows == 0 { MANY } else { point.config.traffic.flows });
    let alone = with_flows(point, &one, None)?;
    with_flows(point, &many, Some(alone))?;
    Ok(())
}

/// Reports the median rate received with the traffic of `config`, and returns it. `alone` is the rate with one flow.
fn with_flows(point: &mut Point<'_>, config: &Config, alone: Option<f64>) -> Result<f64, PktgenError> {
    point.engine.change(config, point.size);
    point.engine.wait_until_ready()?;
    let mut point = Point { engine: point.engine, config, size: point.size, results: point.results };
    let measured = point.repeat(|point| {
        let outcome = point.trial(config.trial.rate)?;
        Ok(Some((outcome.received_pps(), outcome, Finding::default())))
    })?;
    let (outcome, finding) = measured.expect("every repetition has a rate");
    let rate = outcome.received_pps();
    let ratio_to_one_flow = alone.map(|alone| rate / alone);
    point.report("overload", &outcome, Finding { ratio_to_one_flow, ..finding });
    Ok(rate)
}
