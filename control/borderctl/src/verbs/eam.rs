//! `eam ...`, `pool show`.

use std::io::{IsTerminal, Read, Write};
use std::net::IpAddr;

use control_api::{
    Change as Line, Code, Committed, Entry, Lookup, Op, Pools, Refusal, STORE, WorkerView, path,
};
use shown::is_obeyed;

use super::Context;
use super::revision::{committed, with_commit};
use crate::args::{Add, Change, Import, List, Watch};
use crate::client::{Request, Response};
use crate::error::{Error, Result};
use crate::import;
use crate::view::{Align, Paper, Table, or_dash};

/// Mappings whose columns are measured together.
const PAGE: usize = 1000;

fn request(list: &List) -> Request<'static> {
    Request::get(path::EAMS)
        .query("within", list.within.as_ref())
        .query("owner", list.owner.as_ref())
        .query("limit", list.limit)
}

pub(crate) fn list(context: &Context, list: &List) -> Result<()> {
    let response = context.client.send(&request(list), &mut |_| {})?;
    if context.json {
        let mut paper = Paper::plain();
        for line in response.lines() {
            paper.data(&shown::json(&line?))?;
        }
        return paper.flush();
    }
    let mut paper = Paper::paged();
    let mut table = Table::new(&[
        ("IPV4", Align::Left),
        ("IPV6", Align::Left),
        ("OWNER", Align::Left),
        ("COMMENT", Align::Left),
    ]);
    let mut widths = vec![18, 20, 5, 0];
    let mut is_first = true;
    let mut print = |table: &mut Table, paper: &mut Paper| -> Result<()> {
        widths = table.widths(&widths);
        if std::mem::take(&mut is_first) {
            table.print_header(&widths, paper)?;
        }
        table.print_rows(&widths, paper)?;
        table.clear();
        Ok(())
    };
    for entry in entries(response) {
        let entry = entry?;
        let owner = owner(&entry);
        table.row([entry.ipv4, entry.ipv6, owner, entry.comment]);
        if table.len() == PAGE {
            print(&mut table, &mut paper)?;
        }
    }
    print(&mut table, &mut paper)?;
    paper.flush()
}

fn entries(response: Response) -> impl Iterator<Item = Result<Entry>> {
    response.lines().map(|line| {
        serde_json::from_str(&line?)
            .map_err(|error| Error::Broken { what: format!("a line is no mapping: {error}") })
    })
}

/// The owner, with the line where its name has none.
fn owner(entry: &Entry) -> String {
    match entry.line {
        Some(line) if entry.owner == "config" => format!("config:{line}"),
        _ => entry.owner.clone(),
    }
}

pub(crate) fn get(context: &Context, prefix: &str) -> Result<()> {
    let request = Request::get(path::EAM).query("prefix", Some(prefix));
    context.show(&request, Paper::plain(), |entry: &Entry, paper| {
        paper.line(&format!("ipv4     {}", entry.ipv4))?;
        paper.line(&format!("ipv6     {}", entry.ipv6))?;
        paper.line(&format!("owner    {}", owner(entry)))?;
        paper.line(&format!("comment  {}", entry.comment))
    })
}

pub(crate) fn export(context: &Context, list: &List) -> Result<()> {
    let response = context.client.send(&request(list), &mut |_| {})?;
    let mut paper = Paper::plain();
    if context.json {
        for line in response.lines() {
            paper.data(&shown::json(&line?))?;
        }
        return paper.flush();
    }
    paper.line("ipv4,ipv6,comment")?;
    for entry in entries(response) {
        let Entry { ipv4, ipv6, comment, .. } = entry?;
        paper.data(&format!("{ipv4},{ipv6},{}", quoted(&comment)))?;
    }
    paper.flush()
}

/// A field as RFC 4180 has it. Line breaks become spaces: readers go line by line.
pub(super) fn quoted(text: &str) -> String {
    let text: String = text.chars().map(|mark| if is_obeyed(mark) { ' ' } else { mark }).collect();
    if text.contains([',', '"', ';', '#']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

pub(crate) fn add(context: &Context, add: &Add) -> Result<()> {
    let (ipv4, ipv6) = match (&add.prefixes[..], add.auto) {
        ([ipv6], true) => (Line::AUTO, ipv6),
        ([ipv4, ipv6], false) => (ipv4.as_str(), ipv6),
        ([_], false) => {
            return Err(Error::Usage(
                "give an IPv4 and an IPv6 prefix, or --auto and an IPv6 address".to_owned(),
            ));
        }
        _ => {
            return Err(Error::Usage(
                "--auto takes the IPv4 address from the pools: give the IPv6 address alone".to_owned(),
            ));
        }
    };
    let line = Line {
        op: if add.replace { Op::Set } else { Op::Add },
        ipv4: Some(ipv4.into()),
        ipv6: Some(ipv6.into()),
        comment: add.change.commit.comment.as_deref().map(Into::into),
        ..Line::default()
    };
    change(context, &lines([line])?, &add.change, false)
}

pub(crate) fn remove(context: &Context, prefixes: &[String], options: &Change) -> Result<()> {
    let removals = prefixes.iter().map(|prefix| {
        let prefix = Some(prefix.as_str().into());
        let (ipv4, ipv6) = if prefix.as_deref().is_some_and(|text: &str| text.contains(':')) {
            (None, prefix)
        } else {
            (prefix, None)
        };
        Line { op: Op::Remove, ipv4, ipv6, ..Line::default() }
    });
    change(context, &lines(removals)?, options, false)
}

/// Changes as the relay reads them.
fn lines<'l>(changes: impl IntoIterator<Item = Line<'l>>) -> Result<Vec<u8>> {
    let mut lines = Vec::new();
    for change in changes {
        serde_json::to_writer(&mut lines, &change)
            .map_err(|error| Error::Broken { what: error.to_string() })?;
        lines.push(b'\n');
    }
    Ok(lines)
}

fn change(context: &Context, body: &[u8], options: &Change, replace: bool) -> Result<()> {
    let request = Request::post(path::CHANGES)
        .query("comment", options.commit.comment.as_ref())
        .query("stage", options.stage.then_some(true))
        .query("replace", replace.then_some(true))
        .body(body);
    let request = with_commit(request, &options.commit, None);
    let mut bar = Progress::new(body.len());
    let answer: Committed = context.client.send(&request, &mut |sent| bar.show(sent))?.json()?;
    bar.end();
    context.print(&answer, Paper::plain(), committed)
}

pub(crate) fn import(context: &Context, import: &Import) -> Result<()> {
    let mut text = Vec::new();
    let failed = |error| Error::File { path: import.file.clone(), error };
    if import.file.as_os_str() == "-" {
        std::io::stdin().lock().read_to_end(&mut text).map_err(failed)?;
    } else {
        text = std::fs::read(&import.file).map_err(failed)?;
    }
    let read = import::read(&text, import.format)?;
    if read.skipped > 0 {
        eprintln!("borderctl: {} other lines of the file are no mappings and were left out", read.skipped);
    }
    if read.configured > 0 {
        eprintln!("borderctl: {} mappings are the configuration's and were left out", read.configured);
    }
    if import.replace && !import.allow_empty {
        refuse_to_empty(context, &read.changes)?;
    }
    let body = lines(read.changes)?;
    change(context, &body, &import.change, import.replace)
}

/// What failed on the left side of a pipe is an empty file here.
fn refuse_to_empty(context: &Context, changes: &[Line<'_>]) -> Result<()> {
    if changes.iter().any(|change| change.op != Op::Remove) {
        return Ok(());
    }
    let any = Request::get(path::EAMS).query("owner", Some(STORE)).query("limit", Some(1));
    match context.client.send(&any, &mut |_| {})?.lines().next() {
        None => Ok(()),
        Some(line) => line.and_then(|_| {
            let message = "the file has no mappings, and the store would be left with none";
            let remedy = "look at what wrote the file; if that is meant: `--replace --allow-empty`";
            Err(Refusal::new(Code::Refused, message, remedy).into())
        }),
    }
}

pub(crate) fn lookup(context: &Context, address: IpAddr) -> Result<()> {
    let request = Request::get(path::LOOKUP).query("address", Some(address));
    context.show(&request, Paper::plain(), |lookup: &Lookup, paper| {
        paper.line(&lookup.text)?;
        if let Some(eam) = &lookup.eam {
            let from = if eam.owner == STORE { "the store".to_owned() } else { owner(eam) };
            let comment = if eam.comment.is_empty() { String::new() } else { format!(" ({})", eam.comment) };
            paper.line(&format!("  the mapping is in {from}{comment}"))?;
        }
        for loser in &lookup.shadowed {
            paper
                .line(&format!("  {} = {} covers it too; the longer prefix wins", loser.ipv4, loser.ipv6))?;
        }
        match &lookup.worker {
            Some(worker) => workers(worker, paper),
            None => Ok(()),
        }
    })
}

/// What the workers do with the address: by the tables they use.
fn workers(worker: &WorkerView, paper: &mut Paper) -> Result<()> {
    let WorkerView { generation, translated, mapping, next_hop, interface, mac, mtu, route } = worker;
    let becomes = match (translated, mapping) {
        (Some(translated), Some(mapping)) => format!("{translated}, by {mapping}"),
        (Some(translated), None) => format!("{translated}, by the translation prefix"),
        (None, _) => "not translated".to_owned(),
    };
    paper.line(&format!("the workers (tables {generation}): {becomes}"))?;
    let by = interface.as_ref().map_or_else(String::new, |interface| format!(" by {interface}"));
    let to = mac.as_ref().map_or_else(String::new, |mac| format!(" to {mac}"));
    let mtu = mtu.map_or_else(String::new, |mtu| format!(", MTU {mtu}"));
    paper.line(&format!("  next hop {next_hop}{by}{to}{mtu}"))?;
    match route {
        Some(route) => paper.line(&format!("  route {route}")),
        None => Ok(()),
    }
}

pub(crate) fn pools(context: &Context, watch: &Watch) -> Result<()> {
    context.watch(&Request::get(path::POOLS), watch, |pools: &Pools, paper| {
        let mut table = Table::new(&[
            ("POOL", Align::Left),
            ("ADDRESSES", Align::Right),
            ("USED", Align::Right),
            ("FREE", Align::Right),
            ("NEXT FREE", Align::Left),
        ]);
        for pool in &pools.pools {
            table.row([
                pool.prefix.clone(),
                pool.addresses.to_string(),
                pool.used.to_string(),
                pool.free.to_string(),
                or_dash(pool.next_free.as_ref()),
            ]);
        }
        table.print(paper)
    })
}

/// A bar on a terminal while a large file is sent.
struct Progress {
    total: usize,
    is_shown: bool,
}

impl Progress {
    /// Bytes from which on a bar is worth it.
    const LARGE: usize = 1_000_000;

    fn new(total: usize) -> Self {
        Self { total, is_shown: total >= Self::LARGE && std::io::stderr().is_terminal() }
    }

    fn show(&mut self, sent: usize) {
        if self.is_shown {
            let done = sent * 40 / self.total.max(1);
            let what = if sent < self.total { "sending" } else { "checking and committing" };
            eprint!("\r[{:<40}] {:>3} %  {what:<24}", "=".repeat(done), sent * 100 / self.total.max(1));
            let _ = std::io::stderr().flush();
        }
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            eprint!("\r{:<80}\r", "");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}
