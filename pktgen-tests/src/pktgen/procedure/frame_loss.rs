//! Loss by rate: from the highest rate down in steps of a tenth, until two rates in a row lose nothing.

use super::Point;
use crate::pktgen::config::Rate;
use crate::pktgen::error::PktgenError;
use crate::pktgen::report::Finding;

pub(super) fn measure(point: &mut Point<'_>) -> Result<(), PktgenError> {
    let first = point.trial(point.config.trial.rate)?;
    let top = match point.config.trial.rate {
        Rate::PerSecond(rate) => rate,
        Rate::Max => first.sent_pps(),
    };
    let mut without_loss = 0;
    let mut outcome = first;
    for tenths in (0..10).rev() {
        without_loss = if point.passes(&outcome) { without_loss + 1 } else { 0 };
        point.report("frame-loss", &outcome, Finding::default());
        if without_loss == 2 || tenths == 0 {
            break;
        }
        outcome = point.trial(Rate::PerSecond(top * f64::from(tenths) / 10.0))?;
    }
    Ok(())
}
