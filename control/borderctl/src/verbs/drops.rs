//! `drops`.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::time::Duration;

use capture::{Link, PcapngWriter, Record};
use control_api::{DropSample, DropSamples, Drops, path, unhex};

use super::{Context, senders};
use crate::args;
use crate::client::Request;
use crate::error::{Error, Result};
use crate::view::{Align, Paper, Table, packet};

/// Samples in a file, unless it is asked for fewer: all that are kept, but for the largest relays.
const ALL: u32 = 1000;

pub(crate) fn drops(context: &Context, wanted: &args::Drops) -> Result<()> {
    if let Some(file) = &wanted.pcap {
        let samples: DropSamples = context.client.ask(&samples(wanted, ALL))?;
        write(&samples, file)?;
        let count = crate::view::count(samples.0.len() as u64, "sample");
        return context.print(&samples, Paper::plain(), |_, paper| {
            paper.line(&format!("{count} written to {}", file.display()))
        });
    }
    if wanted.senders {
        let samples: DropSamples = context.client.ask(&samples(wanted, ALL))?;
        return context
            .print(&senders::of(&samples), Paper::paged(), |found, paper| senders::human(found, paper));
    }
    if wanted.last.is_some() {
        return context.watch(&samples(wanted, 20), &wanted.watch, packets);
    }
    let request = Request::get(path::DROPS).query("reason", wanted.reason.as_ref());
    context.watch(&request, &wanted.watch, |drops: &Drops, paper| counts(drops, wanted, paper))
}

fn samples(wanted: &args::Drops, last: u32) -> Request<'static> {
    let last = wanted.last.unwrap_or(last);
    Request::get(path::DROP_SAMPLES).query("last", Some(last)).query("reason", wanted.reason.as_ref())
}

fn counts(drops: &Drops, wanted: &args::Drops, paper: &mut Paper) -> Result<()> {
    let mut table = Table::new(&[
        ("REASON", Align::Left),
        ("COUNT", Align::Right),
        ("NOW/S", Align::Right),
        ("1MIN/S", Align::Right),
        ("1H/S", Align::Right),
        ("FIRST SEEN", Align::Left),
        ("LAST SEEN", Align::Left),
        ("SAMPLED", Align::Right),
    ]);
    let is_shown = |count: u64| count > 0 || wanted.all || wanted.reason.is_some();
    let shown = || drops.0.iter().filter(|row| is_shown(row.count));
    for row in shown() {
        let time = |time: &Option<String>| time.clone().unwrap_or_else(|| "-".to_owned());
        table.row([
            row.reason.clone(),
            row.count.to_string(),
            rate(row.rate),
            rate(row.rate_1m),
            rate(row.rate_1h),
            time(&row.first_seen),
            time(&row.last_seen),
            row.sampled.to_string(),
        ]);
    }
    table.print(paper)?;
    for row in shown() {
        paper.line("")?;
        let persistent = row.persistent_since.as_ref();
        let persistent =
            persistent.map_or_else(String::new, |since| format!(", without a pause since {since}"));
        paper.line(&format!("{}{persistent}", row.reason))?;
        paper.line(&format!("  {}", row.meaning))?;
        paper.line(&format!("  {}", row.check))?;
    }
    let silent = drops.0.iter().filter(|row| !is_shown(row.count)).count() as u64;
    if silent > 0 {
        let reasons = crate::view::count(silent, "reason");
        paper.line("")?;
        paper.line(&format!("{reasons} without a drop; --all shows them"))?;
    }
    Ok(())
}

/// Packets a second, with as many digits as say something.
pub(super) fn rate(rate: f64) -> String {
    if rate > 0.0 && rate < 100.0 { format!("{rate:.2}") } else { format!("{rate:.0}") }
}

fn packets(samples: &DropSamples, paper: &mut Paper) -> Result<()> {
    let mut table = Table::new(&[
        ("ID", Align::Right),
        ("TIME", Align::Left),
        ("PORT", Align::Left),
        ("QUEUE", Align::Right),
        ("1 IN", Align::Right),
        ("REASON", Align::Left),
        ("PACKET", Align::Left),
    ]);
    for sample in &samples.0 {
        table.row([
            sample.id.to_string(),
            sample.time.clone(),
            sample.port.clone(),
            if sample.control { "control".to_owned() } else { sample.queue.to_string() },
            sample.one_in.to_string(),
            sample.reason.clone(),
            shown(sample),
        ]);
    }
    table.print(paper)
}

/// A sample in one line.
fn shown(sample: &DropSample) -> String {
    let Some(bytes) = unhex(&sample.bytes) else { return "?".to_owned() };
    match sample.layer.as_str() {
        "ip" => packet::ip(&bytes, sample.length),
        _ => packet::ethernet(&bytes, sample.length),
    }
}

/// Writes samples as pcapng, oldest first: IP packets on one interface, frames that hold none on another.
fn write(samples: &DropSamples, path: &Path) -> Result<()> {
    let failed = |error| Error::File { path: path.to_owned(), error };
    let file = BufWriter::new(File::create(path).map_err(failed)?);
    let mut writer = PcapngWriter::new(file, "borderctl drops").map_err(failed)?;
    let ip = writer.interface("dropped", Link::RAW).map_err(failed)?;
    let frames = writer.interface("dropped/frames", Link::ETHERNET).map_err(failed)?;
    for sample in samples.0.iter().rev() {
        let broken = || Error::Broken { what: format!("the bytes of sample {}", sample.id) };
        let bytes = unhex(&sample.bytes).ok_or_else(broken)?;
        let comment =
            format!("{}: sample {} on {}, 1 in {}", sample.reason, sample.id, sample.port, sample.one_in);
        let record = Record {
            interface: if sample.layer == "ip" { ip } else { frames },
            time: Duration::from_nanos(sample.unix_ns),
            bytes: &bytes,
            length: u32::try_from(sample.length).unwrap_or(u32::MAX),
            id: Some(sample.id),
            queue: (!sample.control).then(|| u32::from(sample.queue)),
            lost: None,
            verdict: Some(capture::DROPPED),
            comment: Some(&comment),
        };
        writer.packet(&record).map_err(failed)?;
    }
    writer.finish().map_err(failed)
}
