//! `borderline translate`: a capture through the walk, without ports.

use std::fs::File;
use std::io::{BufWriter, Write, stdout};
use std::path::PathBuf;

use capture::{Capture, CaptureError, STANDARD, Writer};
use control::config::TranslateConfig;
use control::plan::{self, PlanError};
use dataplane::offline::{Offline, Outcome};
use dataplane::table::eam::EamTable;
use serde::Serialize;
use shown::Shown;

use crate::args::{DONE, FAILED, TranslateArgs, WRONG};
use crate::received::{Received, received};

/// Why there is no translation.
#[derive(Debug, thiserror::Error)]
enum TranslateError {
    #[error(transparent)]
    Capture(#[from] CaptureError),
    #[error("{}: {error}", Shown(path.display()))]
    Report { path: PathBuf, error: std::io::Error },
    #[error("--out and --report both name standard output: give one of them a file")]
    OneOutput,
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
    if args.output.as_os_str() == STANDARD
        && args.report.as_ref().is_some_and(|path| path.as_os_str() == STANDARD)
    {
        return Err(TranslateError::OneOutput);
    }
    let eams = EamTable::build(&plan::rows(config.eams.into_rows())).map_err(PlanError::from)?;
    let mut offline = Offline::new(plan::translation(&config.translation, eams)?, &args.shape.shape());
    let input = Capture::read(&args.input)?;
    let mut writer = Writer::create(&args.output)?;
    let mut report = Report::create(args.report.clone())?;
    let mut out = Vec::new();
    for (index, captured) in input.packets().enumerate() {
        let (verdict, reason) = match received(&captured) {
            Ok(Received { packet, group }) => names(offline.run_received(packet, group, &mut out)),
            Err((verdict, reason)) => (verdict, Some(reason)),
        };
        let written: Result<Vec<usize>, _> =
            out.drain(..).map(|packet| writer.write(captured.timestamp, &packet)).collect();
        report.line(&Line { packet: index, verdict, reason, out: written? })?;
    }
    writer.finish()?;
    report.finish()
}

/// Verdict and reason as a report has them.
pub(crate) fn names(outcome: Outcome) -> (&'static str, Option<&'static str>) {
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
struct Report(Option<(PathBuf, Box<dyn Write>)>);

impl Report {
    fn create(path: Option<PathBuf>) -> Result<Self, TranslateError> {
        let Some(path) = path else { return Ok(Self(None)) };
        if path.as_os_str() == STANDARD {
            return Ok(Self(Some(("standard output".into(), Box::new(BufWriter::new(stdout()))))));
        }
        match File::create(&path) {
            Ok(file) => Ok(Self(Some((path, Box::new(BufWriter::new(file)))))),
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
