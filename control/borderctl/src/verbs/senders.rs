//! `drops --senders`: who sends what is dropped, by the samples that are kept.

use std::collections::BTreeMap;
use std::net::IpAddr;

use control_api::{DropSample, DropSamples, unhex};
use serde::Serialize;

use crate::error::Result;
use crate::view::{Align, Paper, Table};

/// One source of drops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Sender {
    /// Its address; its MAC address where there is no IP packet.
    pub(super) source: String,
    /// Why its packets were dropped.
    pub(super) reason: String,
    /// The port they came by.
    pub(super) port: String,
    /// Samples of it.
    pub(super) samples: u64,
    /// Packets these stand for.
    pub(super) packets: u64,
    /// When the newest was dropped.
    pub(super) last: String,
}

/// The sources of samples, those with most packets first.
pub(super) fn of(samples: &DropSamples) -> Vec<Sender> {
    let mut senders = BTreeMap::<(String, &str, &str), Sender>::new();
    for sample in &samples.0 {
        let source = source(sample).unwrap_or_else(|| "?".to_owned());
        let key = (source.clone(), sample.reason.as_str(), sample.port.as_str());
        let sender = senders.entry(key).or_insert_with(|| Sender {
            source,
            reason: sample.reason.clone(),
            port: sample.port.clone(),
            samples: 0,
            packets: 0,
            last: sample.time.clone(),
        });
        sender.samples += 1;
        sender.packets += sample.one_in;
        if sender.last < sample.time {
            sender.last.clone_from(&sample.time);
        }
    }
    let mut senders: Vec<Sender> = senders.into_values().collect();
    senders.sort_by(|one, other| other.packets.cmp(&one.packets).then(one.source.cmp(&other.source)));
    senders
}

fn source(sample: &DropSample) -> Option<String> {
    let bytes = unhex(&sample.bytes)?;
    if sample.layer != "ip" {
        let mac = bytes.get(6..12)?;
        return Some(mac.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"));
    }
    let address = match bytes.first()? >> 4 {
        4 => IpAddr::from(*bytes.get(12..)?.first_chunk::<4>()?),
        6 => IpAddr::from(*bytes.get(8..)?.first_chunk::<16>()?),
        _ => return None,
    };
    Some(address.to_string())
}

pub(super) fn human(senders: &[Sender], paper: &mut Paper) -> Result<()> {
    let mut table = Table::new(&[
        ("SOURCE", Align::Left),
        ("PORT", Align::Left),
        ("REASON", Align::Left),
        ("SAMPLES", Align::Right),
        ("PACKETS, ABOUT", Align::Right),
        ("LAST", Align::Left),
    ]);
    for sender in senders {
        table.row([
            sender.source.clone(),
            sender.port.clone(),
            sender.reason.clone(),
            sender.samples.to_string(),
            sender.packets.to_string(),
            sender.last.clone(),
        ]);
    }
    table.print(paper)
}
