//! `check`, `diff`, `commit`, `confirm`, `discard`, `rollback`, `history`, `events`, `reload`.

use std::io::Read;

use control_api::{
    Candidate, Check, Committed, Diff, Entry, Event, Finding, History, Pending, Reloaded, Revision, State,
    path,
};

use super::Context;
use crate::args::Commit;
use crate::client::Request;
use crate::error::{Error, Result};
use crate::view::{Align, Paper, Table, count, finding};

/// Warnings that people want to read one by one.
const PRINTED: usize = 20;

/// Adds what every change says: the revision it is meant for, and a key, so that it is made once however often it is sent.
pub(crate) fn with_commit<'r>(request: Request<'r>, commit: &Commit, seen: Option<u64>) -> Request<'r> {
    let revision = commit.on.or(seen).map_or_else(|| "*".to_owned(), |revision| format!("\"{revision}\""));
    request
        .query("confirm_within", commit.confirm_within.map(|within| within.as_secs()))
        .header("if-match", revision)
        .header("idempotency-key", random())
}

/// Sixteen random bytes, in hexadecimal.
fn random() -> String {
    let mut bytes = [0; 16];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    if read.is_err() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        bytes = (now.as_nanos() ^ u128::from(std::process::id()) << 96).to_be_bytes();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What came of a change.
pub(crate) fn committed(answer: &Committed, paper: &mut Paper) -> Result<()> {
    for got in &answer.allocated {
        paper.line(&format!("{} = {}", got.ipv4, got.ipv6))?;
    }
    let Committed { added, removed, changed, unchanged, .. } = answer;
    let same = if *unchanged > 0 { format!(", {unchanged} as before") } else { String::new() };
    let what = format!("{added} added, {removed} removed, {changed} changed{same}");
    let id = answer.revision.id;
    paper.line(&if answer.staged {
        format!("staged on revision {id}, not committed: {what}")
    } else if added + removed + changed == 0 {
        format!("revision {id} as before: {what}")
    } else {
        format!("revision {id}: {what}")
    })?;
    if let Some(until) = &answer.pending_until {
        paper.line(&format!("undone at {until} unless confirmed: borderctl confirm {id}"))?;
    }
    warnings(&answer.warnings, answer.more_warnings, paper)
}

fn warnings(warnings: &[Finding], more: u64, paper: &mut Paper) -> Result<()> {
    for warning in warnings.iter().take(PRINTED) {
        paper.line(&format!("warning: {}", finding(warning)))?;
    }
    let more = more + warnings.len().saturating_sub(PRINTED) as u64;
    if more > 0 { paper.line(&format!("and {}", count(more, "more warning"))) } else { Ok(()) }
}

pub(crate) fn commit(context: &Context, commit: &Commit) -> Result<()> {
    let candidate: Candidate = context.client.ask(&Request::get(path::CANDIDATE))?;
    let request = Request::post(path::COMMIT).query("comment", commit.comment.as_ref());
    let answer: Committed = context.client.ask(&with_commit(request, commit, candidate.base))?;
    context.print(&answer, Paper::plain(), committed)
}

/// Names the revision, so that it may be said again when the answer is lost.
pub(crate) fn confirm(context: &Context, revision: Option<u64>, comment: Option<&str>) -> Result<()> {
    let pending: Option<Pending> = context.client.ask(&Request::get(path::CONFIRM))?;
    let waiting = pending.map(|pending| pending.revision.id);
    // When there is none to name, the relay says so.
    let named = revision.or(waiting).map_or_else(|| "*".to_owned(), |id| format!("\"{id}\""));
    let request = Request::post(path::CONFIRM).query("comment", comment).header("if-match", named);
    let kept: Revision = match context.client.ask(&request) {
        Err(Error::Broken { .. }) => context.client.ask(&request)?,
        answer => answer?,
    };
    context.print(&kept, Paper::plain(), |kept, paper| {
        let id = kept.id;
        match &kept.confirmed {
            Some(at) if waiting != Some(id) => {
                paper.line(&format!("revision {id} stays: it was confirmed before, at {at}"))
            }
            _ => paper.line(&format!("revision {id} stays")),
        }
    })
}

pub(crate) fn rollback(context: &Context, revision: u64, commit: &Commit) -> Result<()> {
    let request = Request::post(path::ROLLBACK)
        .query("revision", Some(revision))
        .query("comment", commit.comment.as_ref());
    let answer: Committed = context.client.ask(&with_commit(request, commit, None))?;
    context.print(&answer, Paper::plain(), committed)
}

pub(crate) fn discard(context: &Context) -> Result<()> {
    context.show(&Request::delete(path::CANDIDATE), Paper::plain(), |candidate: &Candidate, paper| {
        if candidate.base.is_none() {
            return paper.line("nothing was staged");
        }
        let diff = &candidate.diff;
        paper.line(&format!("thrown away: {}", counts(diff)))
    })
}

pub(crate) fn check(context: &Context) -> Result<()> {
    let answer: Check = context.client.ask(&Request::get(path::CHECK))?;
    context.print(&answer, Paper::paged(), |check, paper| {
        let what = if check.candidate { "with the staged changes" } else { "in force" };
        for problem in &check.problems {
            paper.line(&format!("problem: {}", finding(problem)))?;
        }
        for warning in &check.warnings {
            paper.line(&format!("warning: {}", finding(warning)))?;
        }
        if check.more > 0 {
            paper.line(&format!("and {} more", check.more))?;
        }
        let (problems, warnings) = (check.problems.len() as u64, check.warnings.len() as u64);
        paper.line(&format!(
            "{} {what}: {}, {}",
            count(check.eams, "mapping"),
            count(problems, "problem"),
            count(warnings, "warning")
        ))
    })?;
    match answer.problems.first() {
        None => Ok(()),
        Some(_) => Err(control_api::Refusal::new(
            control_api::Code::Refused,
            "the staged changes cannot be committed",
            "correct them, or `borderctl discard`",
        )
        .into()),
    }
}

pub(crate) fn diff(context: &Context, range: Option<(u64, Option<u64>)>) -> Result<()> {
    let Some((from, to)) = range else {
        return context.show(&Request::get(path::CANDIDATE), Paper::paged(), |candidate: &Candidate, paper| {
            let Some(base) = candidate.base else {
                return paper.line("nothing is staged");
            };
            differences(&candidate.diff, paper)?;
            if candidate.stale {
                let head = candidate.diff.from;
                paper.line(&format!(
                    "begun on revision {base}, and {head} is in force: to commit all the same, borderctl commit --on {head}"
                ))?;
            }
            Ok(())
        });
    };
    let request = Request::get(path::DIFF).query("from", Some(from)).query("to", to);
    context.show(&request, Paper::paged(), differences)
}

fn counts(diff: &Diff) -> String {
    format!("{} added, {} removed, {} changed", diff.added, diff.removed, diff.changed)
}

fn differences(diff: &Diff, paper: &mut Paper) -> Result<()> {
    let row = |sign: &str, entry: &Entry| {
        let comment = if entry.comment.is_empty() { String::new() } else { format!("  {}", entry.comment) };
        format!("{sign} {} = {}{comment}", entry.ipv4, entry.ipv6)
    };
    for gone in &diff.removed_eams {
        paper.line(&row("-", gone))?;
    }
    for changed in &diff.changed_eams {
        paper.line(&row("-", &changed.from))?;
        paper.line(&row("+", &changed.to))?;
    }
    for new in &diff.added_eams {
        paper.line(&row("+", new))?;
    }
    if diff.more > 0 {
        paper.line(&format!("and {} more", diff.more))?;
    }
    let to = diff.to.map_or_else(|| "the staged changes".to_owned(), |to| format!("revision {to}"));
    paper.line(&format!("from revision {} to {to}: {}", diff.from, counts(diff)))
}

pub(crate) fn history(context: &Context, limit: u32, before: Option<u64>) -> Result<()> {
    let request = Request::get(path::HISTORY).query("limit", Some(limit)).query("before", before);
    context.show(&request, Paper::paged(), |history: &History, paper| {
        let mut table = Table::new(&[
            ("ID", Align::Right),
            ("TIME", Align::Left),
            ("UID", Align::Right),
            ("STATE", Align::Left),
            ("KIND", Align::Left),
            ("ADDED", Align::Right),
            ("REMOVED", Align::Right),
            ("CHANGED", Align::Right),
            ("COMMENT", Align::Left),
        ]);
        for revision in history {
            table.row([
                revision.id.to_string(),
                revision.time.clone(),
                revision.uid.to_string(),
                state(revision.state).to_owned(),
                revision
                    .back_to
                    .map_or_else(|| revision.kind.clone(), |to| format!("{} to {to}", revision.kind)),
                revision.added.to_string(),
                revision.removed.to_string(),
                revision.changed.to_string(),
                revision.comment.clone(),
            ]);
        }
        table.print(paper)
    })
}

fn state(state: State) -> &'static str {
    match state {
        State::Active => "active",
        State::Pending => "pending",
        State::Superseded => "superseded",
        State::Reverted => "reverted",
    }
}

pub(crate) fn events(context: &Context, number: Option<usize>) -> Result<()> {
    let response = context.client.send(&Request::get(path::EVENTS), &mut |_| {})?;
    let mut paper = Paper::plain();
    for line in response.lines().take(number.unwrap_or(usize::MAX)) {
        let line = line?;
        match serde_json::from_str(&line) {
            Ok(event) if !context.json => paper.line(&told(&event))?,
            // Of a later relay, or for a program.
            _ => paper.data(&shown::json(&line))?,
        }
        paper.flush()?;
    }
    Ok(())
}

fn told(event: &Event) -> String {
    match event {
        Event::Begin { revision } => format!("revision {revision} is in force"),
        Event::Revision { revision } => format!(
            "revision {} ({}): {} added, {} removed, {} changed  {}",
            revision.id,
            state(revision.state),
            revision.added,
            revision.removed,
            revision.changed,
            revision.comment
        ),
        Event::Reloaded { eams } => format!("configuration read again: {}", count(*eams, "mapping")),
        Event::Lost { lost } => format!("{} missed: ask again", count(*lost, "event")),
    }
}

pub(crate) fn reload(context: &Context) -> Result<()> {
    context.show(&Request::post(path::RELOAD), Paper::plain(), |reloaded: &Reloaded, paper| {
        let Reloaded { eams, added, removed, changed, warnings } = reloaded;
        paper.line(&format!(
            "reloaded, {}: {added} added, {removed} removed, {changed} changed",
            count(*eams, "mapping")
        ))?;
        warnings.iter().try_for_each(|warning| paper.line(&format!("warning: {warning}")))
    })
}
