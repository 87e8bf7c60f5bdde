//! `status`, `version`.

use control_api::{API, Health, Status, Versions, path};
use serde::Serialize;

use super::Context;
use crate::args::Watch;
use crate::client::Request;
use crate::error::Result;
use crate::view::{Align, Paper, Table, ago, count, percent};

pub(crate) fn status(context: &Context, watch: &Watch) -> Result<()> {
    context.watch(&Request::get(path::STATUS), watch, human)
}

fn human(status: &Status, paper: &mut Paper) -> Result<()> {
    let (word, is_good) = match status.health {
        Health::Ok => ("ok", true),
        Health::Degraded => ("degraded", false),
        Health::Failed => ("failed", false),
    };
    paper.line(&format!(
        "relay      {}, pid {}, up {}",
        status.version,
        status.pid,
        ago(status.uptime_seconds)
    ))?;
    paper.data(&format!("health     {}", paper.word(word, is_good)))?;
    for reason in &status.reasons {
        paper.line(&format!("           {reason}"))?;
    }
    let revision = &status.revision;
    let digest =
        if revision.digest.is_empty() { String::new() } else { format!(", digest {}", revision.digest) };
    paper.line(&format!("revision   {}{digest}", revision.id))?;
    if let Some(until) = &revision.pending_until {
        paper.line(&format!("           undone at {until} unless confirmed: borderctl confirm"))?;
    }
    paper.line(&format!("mappings   {}", status.eams))?;
    if status.staged > 0 {
        let staged = count(status.staged, "change");
        paper.line(&format!("           {staged} staged: borderctl diff, commit or discard"))?;
    }
    paper.line("")?;
    let mut ports = Table::new(&[
        ("PORT", Align::Left),
        ("LINK", Align::Left),
        ("RECEIVED", Align::Right),
        ("SENT", Align::Right),
    ]);
    for port in &status.ports {
        let link = if port.up { "up" } else { "down" };
        ports.row([port.name.clone(), link.to_owned(), port.received.to_string(), port.sent.to_string()]);
    }
    ports.print(paper)?;
    paper.line("")?;
    let mut workers = Table::new(&[("CPU", Align::Right), ("LOAD", Align::Right)]);
    for worker in &status.workers {
        workers.row([worker.cpu.to_string(), percent(worker.load)]);
    }
    workers.print(paper)
}

/// What both ends are.
#[derive(Serialize)]
struct Both {
    borderctl: Client,
    relay: Versions,
}

#[derive(Serialize)]
struct Client {
    version: &'static str,
    api: control_api::ApiRange,
}

pub(crate) fn version(context: &Context) -> Result<()> {
    let borderctl = Client { version: env!("CARGO_PKG_VERSION"), api: API };
    let relay = match context.client.ask(&Request::get(path::ROOT)) {
        Ok(relay) => relay,
        Err(error) => {
            // Half an answer is one: which borderctl is this?
            if !context.json {
                let mut paper = Paper::plain();
                paper.line(&format!("borderctl  {}, API {}", borderctl.version, borderctl.api))?;
                paper.flush()?;
            }
            return Err(error);
        }
    };
    context.print(&Both { borderctl, relay }, Paper::plain(), |both, paper| {
        paper.line(&format!("borderctl  {}, API {}", both.borderctl.version, both.borderctl.api))?;
        let relay = &both.relay;
        paper.line(&format!("relay      {}, build {}, API {}", relay.version, relay.build, relay.api))
    })
}
