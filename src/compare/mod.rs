//! `borderline compare`: where we would have done otherwise than another translator, shown on captures of both its sides.
//!
//! What enters: our configuration, a capture before and one after the other translator. What leaves: how many packets we
//! would have sent the same, and every difference under the requirement it touches, with the habit of the other
//! translator it comes from where that is known. Neither order, nor what else is in the captures, nor the identification of
//! whole IPv4 packets matters.

mod fields;
mod known;
mod pairing;
mod report;
mod sides;
mod view;

use std::path::{Path, PathBuf};

use capture::{Capture, CaptureError, Packet};
use control::config::TranslateConfig;
use control::plan::{self, PlanError};
use dataplane::offline::Offline;
use dataplane::table::eam::EamTable;

use crate::args::{DONE, FAILED, ShapeArgs, WRONG};
use crate::received::{Received, UNKNOWN, received};
use crate::translate::names;
use pairing::{Match, Seen};
use report::{Finding, Report};
use sides::Sides;
use view::View;

/// `borderline compare`.
#[derive(clap::Args)]
pub(crate) struct CompareArgs {
    /// The configuration this relay would have, as `borderline import` makes it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// What went into the other translator (and, captured on an interface, what came out there)
    #[arg(long, value_name = "A.pcap")]
    pub(crate) before: PathBuf,
    /// What came out of it (and went in there); the same file for a translator with one interface
    #[arg(long, value_name = "B.pcap")]
    pub(crate) after: PathBuf,
    /// One JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
    /// The box both stand for
    #[command(flatten)]
    pub(crate) shape: ShapeArgs,
}

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
enum CompareError {
    #[error(transparent)]
    Capture(#[from] CaptureError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error("--before and --after both name standard input: give one of them a file")]
    OneInput,
}

/// Compares; returns the exit status.
pub(crate) fn run(args: &CompareArgs) -> u8 {
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
    match compare(args, config) {
        Ok(report) if args.json => {
            println!("{}", shown::json(&report.json().to_string()));
            DONE
        }
        Ok(report) => {
            print!("{report}");
            DONE
        }
        Err(error) => {
            eprintln!("borderline: {error}");
            FAILED
        }
    }
}

fn compare(args: &CompareArgs, config: TranslateConfig) -> Result<Report, CompareError> {
    if args.before == args.after && args.before == Path::new(capture::STANDARD) {
        return Err(CompareError::OneInput);
    }
    let sides = Sides::new(&config.translation, &config.eams);
    let eams = EamTable::build(&plan::rows(config.eams.into_rows())).map_err(PlanError::from)?;
    let mut offline = Offline::new(plan::translation(&config.translation, eams)?, &args.shape.shape());
    let (mut seen, mut unread) = (Vec::new(), 0);
    let one_file = args.before == args.after;
    for (file, path) in [&args.before, &args.after].into_iter().enumerate().take(if one_file { 1 } else { 2 })
    {
        let capture = Capture::read(path)?;
        for (index, packet) in capture.packets().enumerate() {
            match look(&mut offline, file, index, &packet) {
                Some(packet) => seen.push(packet),
                None => unread += 1,
            }
        }
    }
    let pairs = pairing::pair(&seen, |packet| sides.way(packet));
    let files = [args.before.display().to_string(), args.after.display().to_string()];
    let mut report = Report::new(files, seen.len(), unread, pairs.others);
    for (input, found) in &pairs.matches {
        judge(&seen, *input, found, &mut report);
    }
    for index in &pairs.extra {
        report.extra(&seen[*index]);
    }
    Ok(report)
}

/// What we make of a packet; `None` of what is no IP packet or not all there.
fn look(offline: &mut Offline, file: usize, index: usize, packet: &Packet<'_>) -> Option<Seen> {
    let Received { packet: bytes, group } = match received(packet) {
        Ok(received) => received,
        Err((UNKNOWN, _)) => return None,
        Err((verdict, reason)) => {
            let reason = Some(reason);
            let (time, bytes, ours) = (packet.timestamp, Vec::new(), Vec::new());
            return Some(Seen { file, index, time, bytes, verdict, reason, ours });
        }
    };
    let mut ours = Vec::new();
    let (verdict, reason) = names(offline.run_received(bytes, group, &mut ours));
    Some(Seen { file, index, time: packet.timestamp, bytes: bytes.to_vec(), verdict, reason, ours })
}

/// Enters what became of one input into the report.
fn judge(seen: &[Seen], index: usize, found: &Match, report: &mut Report) {
    let input = &seen[index];
    let from_ipv6 = View::new(&input.bytes).is_some_and(|view| view.is_ipv6);
    let by_reason = |fallback| match input.reason {
        Some(reason) => known::reason(reason, from_ipv6),
        None => (fallback, None),
    };
    let answer = if from_ipv6 { known::ANSWER_6 } else { known::ANSWER_4 };
    match found {
        Match::Equal => report.equal += 1,
        Match::BothSilent => report.both_silent += 1,
        Match::Cut(pieces) => {
            let sizes = |packets: &[&[u8]]| {
                let sizes: Vec<String> = packets.iter().map(|packet| packet.len().to_string()).collect();
                sizes.join(" + ")
            };
            let ours: Vec<&[u8]> = input.ours.iter().map(Vec::as_slice).collect();
            let theirs: Vec<&[u8]> = pieces.iter().map(|piece| seen[*piece].bytes.as_slice()).collect();
            let requirement = if from_ipv6 { known::CUT_4 } else { known::CUT_6 };
            let known = Some(
                "pieces of other sizes carry the same datagram; TAYGA fills all but the last to its own MTU",
            );
            let what = format!("bytes of the pieces: ours {}, theirs {}", sizes(&ours), sizes(&theirs));
            report.different(requirement, known, Finding::new(input, Some(&seen[pieces[0]]), what));
        }
        Match::Near(number, other) => {
            let theirs = &seen[*other];
            let views = (View::new(&input.bytes), View::new(&input.ours[*number]), View::new(&theirs.bytes));
            let (Some(input_view), Some(ours), Some(their_view)) = views else { return };
            let is_own = input.verdict == "icmp_error";
            let both = fields::Both { input: input_view, ours, theirs: their_view, is_own };
            let differences = both.differences();
            if differences.is_empty() {
                report.equal += 1;
                return;
            }
            for difference in differences {
                let what =
                    format!("{}: ours {}, theirs {}", difference.field, difference.ours, difference.theirs);
                report.different(
                    difference.requirement,
                    difference.known,
                    Finding::new(input, Some(theirs), what),
                );
            }
        }
        Match::Missing(number) => {
            let (requirement, known) = if input.verdict == "hairpinned" {
                (known::HAIRPIN, Some(known::NO_HAIRPIN))
            } else {
                by_reason(if from_ipv6 { known::NATIVE } else { known::TRANSPORT_6 })
            };
            let what = format!("we send {} bytes, they sent nothing", input.ours[*number].len());
            report.missing(requirement, known, Finding::new(input, None, what));
        }
        Match::Answered(other) => {
            let what = "we translate it, they answered with an ICMP error".to_owned();
            let (requirement, known) = match input.verdict {
                "hairpinned" => (known::HAIRPIN, known::NO_HAIRPIN),
                _ => (answer, "TAYGA refuses prefix addresses with a suffix that is not zero (T-5)"),
            };
            report.different(requirement, Some(known), Finding::new(input, Some(&seen[*other]), what));
        }
        Match::Carried(other) => {
            let (requirement, known) = by_reason(answer);
            let what = format!(
                "we do not translate it ({}), they sent something",
                input.reason.unwrap_or(input.verdict)
            );
            report.different(requirement, known, Finding::new(input, Some(&seen[*other]), what));
        }
    }
}
