//! `capture` and `trace`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use capture::{ANSWERED, DROPPED, InterfaceId, Link, PASSED, PcapngWriter, REDIRECTED, Record};
use control_api::{CaptureLine, CaptureTotals, CapturedFrame, CapturedPacket, path, unhex};

use super::Context;
use super::services::Services;
use crate::args;
use crate::client::Request;
use crate::error::{Error, Result};
use crate::view::{Align, Paper, Table, count, packet, percent};

/// Bytes of a frame that a line needs: the headers.
const HEADERS: u32 = 192;

/// What a stream is asked for.
fn request(wanted: &args::Wanted, count: u64, snap: Option<u32>) -> Request<'static> {
    Request::get(path::CAPTURE)
        .query("filter", wanted.filter.as_ref())
        .query("count", Some(wanted.count.unwrap_or(count)))
        .query("seconds", Some(wanted.seconds))
        .query("rate", Some(wanted.rate))
        .query("snap", snap)
}

impl Context {
    /// Hands every line of a stream to `take`, until the last.
    fn stream(
        &self,
        request: &Request<'_>,
        mut take: impl FnMut(&str, CaptureLine) -> Result<()>,
    ) -> Result<()> {
        let response = self.client.send(request, &mut |_| {})?;
        let mut ended = false;
        for line in response.lines() {
            let line = line?;
            let Ok(event) = serde_json::from_str::<CaptureLine>(&line) else {
                // Something newer than this program.
                continue;
            };
            ended = matches!(event, CaptureLine::End { .. });
            take(&line, event)?;
        }
        if ended { Ok(()) } else { Err(Error::Broken { what: "the stream has no end".to_owned() }) }
    }
}

pub(crate) fn capture(context: &Context, wanted: &args::Capture) -> Result<()> {
    let request = request(&wanted.wanted, 1000, wanted.snap);
    let mut file = None;
    context.stream(&request, |line, event| match event {
        // The file is made once the relay has taken the filter.
        CaptureLine::Begin { ports, .. } => {
            file = Some(Writer::create(&wanted.write, &ports)?);
            Ok(())
        }
        CaptureLine::Packet(packet) => file.as_mut().map_or(Ok(()), |file| file.packet(&packet)),
        CaptureLine::Progress(_) => Ok(()),
        CaptureLine::End { cause, totals } => {
            if let Some(file) = &mut file {
                file.end(&totals)?;
            }
            let mut paper = Paper::plain();
            if context.json {
                paper.line(line)?;
            } else {
                let written = count(totals.captured, "packet");
                paper.line(&format!(
                    "{written} written to {}; {}",
                    wanted.write.display(),
                    told(&cause, &totals)
                ))?;
            }
            paper.flush()
        }
    })
}

/// How it went, in a few words.
fn told(cause: &str, totals: &CaptureTotals) -> String {
    let cause = match cause {
        "count" => "as many as were wanted",
        "time" => "the time is over",
        _ => "the relay is stopping",
    };
    format!("{} matched, {} captured, {} lost: {cause}", totals.matched, totals.captured, totals.lost)
}

/// A pcapng file with two interfaces for each port.
struct Writer<'p> {
    path: &'p Path,
    file: PcapngWriter<BufWriter<File>>,
    /// By name: as received, as sent.
    ports: BTreeMap<String, (InterfaceId, InterfaceId)>,
}

impl<'p> Writer<'p> {
    fn create(path: &'p Path, ports: &[String]) -> Result<Self> {
        let failed = |error| Error::File { path: path.to_owned(), error };
        let file = BufWriter::new(File::create(path).map_err(failed)?);
        let mut file = PcapngWriter::new(file, "borderctl capture").map_err(failed)?;
        let mut named = BTreeMap::new();
        for port in ports {
            let before = file.interface(&format!("{port}/before"), Link::ETHERNET).map_err(failed)?;
            let after = file.interface(&format!("{port}/after"), Link::ETHERNET).map_err(failed)?;
            named.insert(port.clone(), (before, after));
        }
        Ok(Self { path, file, ports: named })
    }

    fn packet(&mut self, packet: &CapturedPacket) -> Result<()> {
        let comment = comment(packet);
        let verdict = match packet.verdict.as_str() {
            "dropped" => DROPPED,
            "punted" => PASSED,
            "icmp_error" => ANSWERED,
            _ => REDIRECTED,
        };
        self.frame(packet, &packet.before, verdict, &comment, true)?;
        for frame in &packet.after {
            self.frame(packet, frame, verdict, &comment, false)?;
        }
        // Who looks at the file while it grows sees whole packets.
        self.file.flush().map_err(|error| self.failed(error))
    }

    fn frame(
        &mut self,
        packet: &CapturedPacket,
        frame: &CapturedFrame,
        verdict: u64,
        comment: &str,
        is_before: bool,
    ) -> Result<()> {
        let broken = |what: &str| Error::Broken { what: format!("{what} of packet {}", packet.id) };
        let (before, after) = *self.ports.get(&frame.port).ok_or_else(|| broken("the port"))?;
        let bytes = unhex(&frame.bytes).ok_or_else(|| broken("the bytes"))?;
        let record = Record {
            interface: if is_before { before } else { after },
            time: Duration::from_nanos(packet.unix_ns),
            bytes: &bytes,
            length: u32::try_from(frame.length).unwrap_or(u32::MAX),
            id: Some(packet.id),
            queue: Some(u32::from(packet.queue)),
            lost: is_before.then_some(packet.lost),
            verdict: Some(verdict),
            comment: Some(comment),
        };
        self.file.packet(&record).map_err(|error| self.failed(error))
    }

    fn end(&mut self, totals: &CaptureTotals) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        for port in &totals.ports {
            let Some((before, after)) = self.ports.get(&port.port).copied() else { continue };
            for (interface, all, lost) in
                [(before, port.received, port.received_lost), (after, port.sent, port.sent_lost)]
            {
                self.file.statistics(interface, now, all, lost).map_err(|error| self.failed(error))?;
            }
        }
        self.file.flush().map_err(|error| self.failed(error))
    }

    fn failed(&self, error: std::io::Error) -> Error {
        Error::File { path: self.path.to_owned(), error }
    }
}

/// The mappings, the verdict, the reason: `EAM 192.0.2.1/32 = 2001:db8::1/128 | translated`.
fn comment(packet: &CapturedPacket) -> String {
    let mut parts: Vec<String> = packet.mappings.iter().map(|mapping| format!("EAM {mapping}")).collect();
    if parts.is_empty() {
        parts.push("no EAM".to_owned());
    }
    parts.push(packet.verdict.clone());
    parts.extend(packet.reason.clone());
    parts.join(" | ")
}

pub(crate) fn trace(context: &Context, wanted: &args::Trace) -> Result<()> {
    let mut paths = BTreeMap::<String, u64>::new();
    let mut services = Services::default();
    let is_counted = wanted.paths || wanted.services;
    let request = request(&wanted.wanted, if is_counted { 10_000 } else { 1000 }, Some(HEADERS));
    context.stream(&request, |line, event| {
        let mut paper = Paper::plain();
        match event {
            CaptureLine::Packet(packet) if wanted.paths => *paths.entry(packet.path).or_default() += 1,
            CaptureLine::Packet(packet) if wanted.services => services.count(&packet),
            CaptureLine::Packet(_) if context.json => paper.line(line)?,
            CaptureLine::Packet(packet) => {
                if packet.lost > 0 {
                    paper.line(&format!("-- {} lost --", packet.lost))?;
                }
                paper.line(&traced(&packet))?;
            }
            CaptureLine::End { .. } if context.json && !is_counted => paper.line(line)?,
            CaptureLine::End { cause, totals } => {
                if wanted.paths {
                    histogram(context, &paths, &totals, &mut paper)?;
                }
                if wanted.services {
                    services.print(context, &totals, &mut paper)?;
                }
                // Standard error, so that the lines of packets stay among themselves.
                if !context.json {
                    writeln!(std::io::stderr(), "{}", told(&cause, &totals)).map_err(Error::Output)?;
                }
            }
            CaptureLine::Begin { .. } | CaptureLine::Progress(_) => {}
        }
        paper.flush()
    })
}

/// A packet in one line.
fn traced(packet: &CapturedPacket) -> String {
    let side = |frame: &CapturedFrame| {
        let Some(bytes) = unhex(&frame.bytes) else { return format!("{} ?", frame.port) };
        format!("{} {}", frame.port, packet::frame(&bytes, frame.length))
    };
    let time = packet.time.split_once('T').map_or(packet.time.as_str(), |(_, time)| time);
    let mut line = format!("{} q{} {} ", time.trim_end_matches('Z'), packet.queue, side(&packet.before));
    line += &match packet.reason.as_ref() {
        Some(reason) => format!("| {} {reason}", packet.verdict),
        None => format!("| {}", packet.verdict),
    };
    for frame in &packet.after {
        line += &format!(" => {}", side(frame));
    }
    if !packet.mappings.is_empty() {
        line += &format!(" | EAM {}", packet.mappings.join(", "));
    }
    line
}

/// How many packets took each way, most first.
fn histogram(
    context: &Context,
    paths: &BTreeMap<String, u64>,
    totals: &CaptureTotals,
    paper: &mut Paper,
) -> Result<()> {
    let mut ways: Vec<(&String, &u64)> = paths.iter().collect();
    ways.sort_by_key(|(path, count)| (std::cmp::Reverse(**count), *path));
    if context.json {
        let ways: Vec<_> =
            ways.iter().map(|(path, count)| serde_json::json!({"path": path, "count": count})).collect();
        let answer = serde_json::json!({
            "matched": totals.matched, "captured": totals.captured, "lost": totals.lost, "paths": ways,
        });
        return paper.line(&answer.to_string());
    }
    let mut table = Table::new(&[("PACKETS", Align::Right), ("SHARE", Align::Right), ("PATH", Align::Left)]);
    for (path, count) in ways {
        table.row([count.to_string(), percent(share(*count, totals.captured)), path.clone()]);
    }
    table.print(paper)
}

#[expect(clippy::cast_precision_loss, reason = "a share is a rounded number")]
pub(super) fn share(part: u64, all: u64) -> f64 {
    part as f64 / all.max(1) as f64
}
