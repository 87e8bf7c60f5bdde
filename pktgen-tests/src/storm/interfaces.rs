//! Interfaces of others that come and go: for each one removed the kernel waits for every processor, and whoever asks it about
//! interfaces, routes or neighbours meanwhile waits as well.

use std::fmt::Write;
use std::time::{Duration, Instant};

use super::stand::Stand;
use super::{Row, Scale};
use crate::lab::{Cmd, LabError, Namespace};

/// Pairs that come at once, and go one after the other.
const PAIRS: u32 = 20;
/// In this time the relay looks at everything it looks at now and then.
const LOOKS: Duration = Duration::from_secs(5);

/// Makes interfaces in a namespace beside the relay's and removes them, over and over.
pub(super) fn come_and_go(scale: &Scale) -> Result<Vec<Row>, LabError> {
    let mut stand = Stand::up()?;
    let beside = Namespace::new("beside")?;
    let watch = stand.watch()?;
    let (start, mut removed) = (Instant::now(), 0);
    while start.elapsed() < scale.time.max(LOOKS) {
        batch(&beside, "add", |number| format!("a{number} type veth peer name b{number}"))?;
        batch(&beside, "del", |number| format!("a{number}"))?;
        removed += 2 * PAIRS;
    }
    let rate = u128::from(removed) * 1000 / start.elapsed().as_millis().max(1);
    stand.judge(&format!("interfaces of others come and go, {rate} removed/s"), watch)
}

fn batch(namespace: &Namespace, verb: &str, of: impl Fn(u32) -> String) -> Result<(), LabError> {
    let mut lines = String::new();
    for number in 0..PAIRS {
        writeln!(lines, "link {verb} {}", of(number)).ok();
    }
    Cmd::new("ip").arg("-n").arg(namespace.name()).args("-batch -").input(lines).timeout(60).ok().map(drop)
}
