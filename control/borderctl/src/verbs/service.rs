//! `health`, `drain`, `undrain`.

use std::thread;
use std::time::{Duration, Instant};

use control_api::{Announcement, Code, Refusal, path};

use super::Context;
use crate::args::{Drain, Watch};
use crate::client::Request;
use crate::error::Result;
use crate::view::{Align, Paper, Table, or_dash};

/// How often a drain is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How often people hear of it while nothing changes.
const TELL: Duration = Duration::from_secs(2);
/// The column of a test's state.
const STATE: usize = 2;
/// Senders that are shown while waiting.
const SENDERS: usize = 3;

pub(crate) fn health(context: &Context, watch: &Watch) -> Result<()> {
    context.watch(&Request::get(path::ANNOUNCEMENT), watch, human)
}

pub(crate) fn undrain(context: &Context) -> Result<()> {
    context.show(&Request::post(path::UNDRAIN), Paper::plain(), |answer: &Announcement, paper| {
        let now = format!("the drain is taken back; the service is {} at this moment", answer.standing);
        paper.line(&(now + ": `borderctl health` shows what becomes of it"))
    })
}

pub(crate) fn drain(context: &Context, drain: &Drain) -> Result<()> {
    let request = Request::post(path::DRAIN).query("lead", drain.lead.map(|lead| lead.as_secs()));
    let mut answer: Announcement = context.client.ask(&request)?;
    if drain.no_wait {
        return context.print(&answer, Paper::plain(), |answer, paper| paper.line(&progress(answer)));
    }
    let started = Instant::now();
    let (mut told, mut last) = (String::new(), None::<Instant>);
    while let Some(standing) = answer.drain.as_ref().filter(|drain| drain.phase != "done") {
        let due = last.is_none_or(|last| last.elapsed() >= TELL);
        if !context.json && (due || told != standing.phase) {
            told.clone_from(&standing.phase);
            last = Some(Instant::now());
            let mut paper = Paper::plain();
            paper.line(&progress(&answer))?;
            paper.flush()?;
        }
        if drain.timeout.is_some_and(|timeout| started.elapsed() >= timeout) {
            return Err(
                Refusal::new(Code::Refused, progress(&answer), "wait longer, or find out who sends").into()
            );
        }
        thread::sleep(LOOK);
        answer = context.client.ask(&Request::get(path::ANNOUNCEMENT))?;
    }
    if answer.drain.is_none() {
        return Err(
            Refusal::new(Code::Refused, "the drain was taken back", "ask who did, and drain again").into()
        );
    }
    context.print(&answer, Paper::plain(), |answer, paper| paper.line(&progress(answer)))
}

/// A drain in one line: where it stands, how much still comes, and from whom.
fn progress(answer: &Announcement) -> String {
    let Some(drain) = &answer.drain else {
        return format!("not drained; the service is {}", answer.standing);
    };
    let pps = answer.translated_pps;
    let stands = match drain.phase.as_str() {
        "leading" => format!("routes are worse than usual, and go in {} s", drain.lead_seconds),
        "withdrawn" => format!("no routes any more, quiet for {} s", drain.quiet_seconds),
        _ => return format!("out of service after {} s: {pps} packets/s", drain.seconds),
    };
    let senders = answer.senders.iter().take(SENDERS);
    let senders: Vec<String> =
        senders.map(|sender| format!("{} by {} on {}", sender.source, sender.router, sender.port)).collect();
    let from = if senders.is_empty() { String::new() } else { format!("; from {}", senders.join(", ")) };
    format!("{stands}: {pps} packets/s{from}")
}

fn human(answer: &Announcement, paper: &mut Paper) -> Result<()> {
    paper.line(&format!("service    {}", answer.standing))?;
    paper.line(&format!("traffic    {} packets/s translated", answer.translated_pps))?;
    if answer.drain.is_some() {
        paper.line(&format!("drain      {}", progress(answer)))?;
    }
    paper.line("")?;
    let mut tests = Table::new(&[
        ("TEST", Align::Left),
        ("OF", Align::Left),
        ("STATE", Align::Left),
        ("SINCE", Align::Left),
        ("WHY", Align::Left),
    ]);
    for test in &answer.tests {
        let state = test.state.clone();
        tests.row([test.name.clone(), test.subject.clone(), state, test.since.clone(), test.why.clone()]);
        tests.stands_out(STATE, test.state == "passing");
    }
    tests.print(paper)?;
    paper.line("")?;
    let mut routes =
        Table::new(&[("ROUTE", Align::Left), ("METRIC", Align::Right), ("WHY NOT", Align::Left)]);
    for destination in &answer.destinations {
        routes.row([destination.prefix.clone(), or_dash(destination.metric), destination.why.clone()]);
    }
    routes.print(paper)?;
    if !answer.senders.is_empty() {
        paper.line("")?;
        let mut senders = Table::new(&[
            ("SENDER", Align::Left),
            ("ROUTER", Align::Left),
            ("PORT", Align::Left),
            ("SAMPLES", Align::Right),
        ]);
        for sender in &answer.senders {
            let samples = sender.samples.to_string();
            senders.row([sender.source.clone(), sender.router.clone(), sender.port.clone(), samples]);
        }
        senders.print(paper)?;
    }
    Ok(())
}
