//! `borderline translate`: a capture through the walk, without ports.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use control::config::TranslateConfig;
use control::plan::{self, PlanError};
use dataplane::offline::{Offline, Outcome, Shape};
use dataplane::table::eam::EamTable;
use dataplane::verdict::{DropReason, PuntReason};
use dataplane::wire::ethernet;
use serde::Serialize;

use crate::args::{DONE, FAILED, TranslateArgs, WRONG};
use crate::capture::{self, CaptureError, Captured, LinkLayer};

/// Why there is no translation.
#[derive(Debug, thiserror::Error)]
enum TranslateError {
    #[error(transparent)]
    Capture(#[from] CaptureError),
    #[error("{}: {error}", path.display())]
    Report { path: PathBuf, error: std::io::Error },
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// One line of the report. Field names are a contract.
#[derive(Serialize)]
struct Line {
    packet: usize,
    verdict: &'static str,
    reason: Option<&'static str>,
    out: Vec<usize>,
}

/// Translates; returns the exit status.
pub(crate) fn run(args: &TranslateArgs) -> u8 {
    let config = match TranslateConfig::load(&args.config) {
        Ok((config, warnings)) => {
            eprint!("{warnings}");
            config
        }
        Err(problems) => {
            eprintln!("{problems}");
            return WRONG;
        }
    };
    match translate(args, config) {
        Ok(()) => DONE,
        Err(error) => {
            eprintln!("borderline: {error}");
            FAILED
        }
    }
}

fn translate(args: &TranslateArgs, config: TranslateConfig) -> Result<(), TranslateError> {
    let shape = Shape {
        ipv4_mtu: args.ipv4_mtu,
        ipv6_mtu: args.ipv6_mtu,
        ipv4_address: args.ipv4_address,
        ipv6_address: args.ipv6_address,
    };
    let eams = EamTable::build(&plan::rows(config.eams.into_rows())).map_err(PlanError::from)?;
    let mut offline = Offline::new(plan::translation(&config.translation, eams)?, &shape);
    let packets = capture::read(&args.input)?;
    let mut writer = capture::Writer::create(&args.output)?;
    let mut report = Report::create(args.report.clone())?;
    let mut out = Vec::new();
    for (index, captured) in packets.iter().enumerate() {
        let (verdict, reason) = match ip_packet(captured) {
            Ok(packet) => names(offline.run(packet, &mut out)),
            Err((verdict, reason)) => (verdict, Some(reason)),
        };
        let written: Result<Vec<usize>, _> =
            out.drain(..).map(|packet| writer.write(captured.timestamp, &packet)).collect();
        report.line(&Line { packet: index, verdict, reason, out: written? })?;
    }
    writer.finish()?;
    report.finish()
}

/// The IP packet in a captured one, or what a worker does with the frame before it comes to that.
fn ip_packet(captured: &Captured) -> Result<&[u8], (&'static str, &'static str)> {
    let dropped = |reason: DropReason| ("dropped", reason.name());
    let punted = |reason: PuntReason| ("punted", reason.name());
    if captured.link == LinkLayer::Raw {
        return Ok(&captured.bytes);
    }
    let header = ethernet::Header::parse(&captured.bytes)
        .map_err(|ethernet::TooShort| dropped(DropReason::FrameTooShort))?;
    let packet = &captured.bytes[header.length..];
    let version = packet.first().map(|byte| byte >> 4);
    match header.ether_type {
        ethernet::TYPE_IPV4 if version == Some(4) => Ok(packet),
        ethernet::TYPE_IPV4 => Err(dropped(DropReason::Ipv4HeaderInvalid)),
        ethernet::TYPE_IPV6 if version == Some(6) => Ok(packet),
        ethernet::TYPE_IPV6 => Err(dropped(DropReason::Ipv6HeaderInvalid)),
        ethernet::TYPE_ARP => Err(punted(PuntReason::Arp)),
        _ => Err(punted(PuntReason::EtherType)),
    }
}

fn names(outcome: Outcome) -> (&'static str, Option<&'static str>) {
    match outcome {
        Outcome::Translated => ("translated", None),
        Outcome::Hairpinned => ("hairpinned", None),
        Outcome::Native => ("native", None),
        Outcome::IcmpError(reason) => ("icmp_error", Some(reason.name())),
        Outcome::Dropped(reason) => ("dropped", Some(reason.name())),
        Outcome::Punted(reason) => ("punted", Some(reason)),
    }
}

/// The report file, if one was asked for.
struct Report(Option<(PathBuf, BufWriter<File>)>);

impl Report {
    fn create(path: Option<PathBuf>) -> Result<Self, TranslateError> {
        let Some(path) = path else { return Ok(Self(None)) };
        match File::create(&path) {
            Ok(file) => Ok(Self(Some((path, BufWriter::new(file))))),
            Err(error) => Err(TranslateError::Report { path, error }),
        }
    }

    fn line(&mut self, line: &Line) -> Result<(), TranslateError> {
        let Some((path, file)) = &mut self.0 else {
            return Ok(());
        };
        serde_json::to_writer(&mut *file, line)
            .map_err(std::io::Error::from)
            .and_then(|()| file.write_all(b"\n"))
            .map_err(|error| TranslateError::Report { path: path.clone(), error })
    }

    fn finish(self) -> Result<(), TranslateError> {
        let Some((path, mut file)) = self.0 else {
            return Ok(());
        };
        file.flush().map_err(|error| TranslateError::Report { path, error })
    }
}
