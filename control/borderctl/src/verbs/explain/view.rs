//! An explanation for people.

use control_api::{Explanation, Field, Phase, Used};
use shown::Shown;

use crate::error::Result;
use crate::view::{Align, Paper, Table, count};

/// Hexadecimal digits of a line: 32 bytes.
const DIGITS: usize = 64;

pub(super) fn human(answer: &Explanation, paper: &mut Paper) -> Result<()> {
    phases(&answer.phases, paper)?;
    paper.line("")?;
    fields(answer, paper)?;
    paper.line("")?;
    hex("in", &answer.r#in, paper)?;
    for out in &answer.out {
        hex("out", out, paper)?;
    }
    hex("frame", &answer.frame, paper)?;
    paper.line("")?;
    let counters: Vec<String> =
        answer.counters.iter().map(|counter| format!("{} +{}", counter.name, counter.by)).collect();
    paper.line(&format!("counters  {}", counters.join(", ")))?;
    let is_good = ["translated", "hairpinned", "native"].contains(&answer.verdict.as_str());
    let reason = answer.reason.as_ref().map_or_else(String::new, |reason| format!(", {reason}"));
    let verdict = paper.word(&answer.verdict, is_good);
    paper.data(&format!("verdict   {verdict}{}", Shown(reason)))?;
    if let Some(sample) = &answer.sample {
        let now = if sample.still { "so it would be now" } else { "that is not so any more" };
        paper
            .line(&format!("sample    {}, dropped {} as {}: {now}", sample.id, sample.time, sample.reason))?;
    }
    match &answer.advice {
        Some(advice) => paper.line(&format!("          {advice}")),
        None => Ok(()),
    }
}

/// Numbered, what is said of each below it.
fn phases(phases: &[Phase], paper: &mut Paper) -> Result<()> {
    let width = phases.iter().map(|phase| phase.name.len()).max().unwrap_or(0);
    for (number, phase) in (1..).zip(phases) {
        let Phase { name, result, text, used, shadowed, section, mtu } = phase;
        paper.line(&format!("{number:>2}  {name:<width$}  {result}: {text}"))?;
        let indent = " ".repeat(width + 6);
        if let Some(Used { entry, origin }) = used {
            paper.line(&format!("{indent}by {entry}  [{origin}]"))?;
        }
        for Used { entry, origin } in shadowed {
            paper.line(&format!("{indent}before {entry}  [{origin}]"))?;
        }
        let mtu = mtu.map(|mtu| format!("MTU {mtu}"));
        let notes: Vec<&str> = [mtu.as_deref(), section.as_deref()].into_iter().flatten().collect();
        if !notes.is_empty() {
            paper.line(&format!("{indent}{}", notes.join(", ")))?;
        }
    }
    Ok(())
}

/// What the packet has in it, before and after, side by side.
fn fields(answer: &Explanation, paper: &mut Paper) -> Result<()> {
    if answer.after.is_empty() {
        return side_by_side(&answer.before, &[], paper);
    }
    for (number, leaving) in (1..).zip(&answer.after) {
        if answer.after.len() > 1 {
            let all = count(answer.after.len() as u64, "packet");
            paper.line(&format!("packet {number} of {all}, by port {}", leaving.port))?;
        }
        side_by_side(&answer.before, &leaving.fields, paper)?;
    }
    Ok(())
}

fn side_by_side(before: &[Field], after: &[Field], paper: &mut Paper) -> Result<()> {
    let mut table = Table::new(&[("FIELD", Align::Left), ("BEFORE", Align::Left), ("AFTER", Align::Left)]);
    let value = |fields: &[Field], name: &str| {
        let found = fields.iter().find(|field| common(&field.name) == name);
        found.map_or_else(|| "-".to_owned(), |field| field.value.clone())
    };
    let only_after =
        after.iter().filter(|field| before.iter().all(|other| common(&other.name) != common(&field.name)));
    for field in before.iter().chain(only_after) {
        let name = common(&field.name);
        table.row([name.clone(), value(before, &name), value(after, &name)]);
    }
    table.print(paper)
}

/// One name for the same field of both families.
fn common(name: &str) -> String {
    for (family, common) in [
        ("ipv4.tos", "ip.traffic_class"),
        ("ipv6.traffic_class", "ip.traffic_class"),
        ("ipv4.ttl", "ip.hop_limit"),
        ("ipv6.hop_limit", "ip.hop_limit"),
        ("ipv4.protocol", "ip.protocol"),
        ("ipv6.next_header", "ip.protocol"),
        ("ipv4.source", "ip.source"),
        ("ipv6.source", "ip.source"),
        ("ipv4.destination", "ip.destination"),
        ("ipv6.destination", "ip.destination"),
        ("icmpv6.", "icmp."),
    ] {
        if name.contains(family) {
            return name.replace(family, common);
        }
    }
    name.to_owned()
}

fn hex(name: &str, digits: &str, paper: &mut Paper) -> Result<()> {
    let mut rest = digits;
    let mut name = name;
    loop {
        let (line, after) = rest.split_at(rest.len().min(DIGITS));
        paper.line(&format!("{name:<8}  {line}"))?;
        (rest, name) = (after, "");
        if rest.is_empty() {
            return Ok(());
        }
    }
}
