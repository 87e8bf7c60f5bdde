//! `status`, `version`.

use control_api::{
    API, Failing, Fill, Flow, Health, QueueWait, Queues, Status, Versions, WorkerQueues, path,
};
use serde::Serialize;
use shown::Shown;

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
        paper.line(&format!(
            "           undone at {until} unless confirmed: borderctl confirm {}",
            revision.id
        ))?;
    }
    paper.line(&format!("mappings   {}", status.eams))?;
    if let Some(service) = &status.service {
        let routes = count(service.routes, "route");
        paper.line(&format!("service    {}, {routes}", service.standing))?;
        paper.line(&format!("           {} packets/s translated", service.translated_pps))?;
        if !service.digest.is_empty() {
            paper.line(&format!("tables     digest {}", service.digest))?;
        }
    }
    before(status, paper)?;
    if status.staged > 0 {
        let staged = count(status.staged, "change");
        paper.line(&format!("           {staged} staged: borderctl diff, commit or discard"))?;
    }
    if !status.persistent_drops.is_empty() {
        paper.line("drops      these keep growing; `borderctl drops` says what to check")?;
        for drop in &status.persistent_drops {
            let rate = super::drops::rate(drop.rate_1m);
            paper.line(&format!("           {} since {}, {rate} a second", drop.reason, drop.since))?;
        }
    }
    paper.line("")?;
    let mut ports = Table::new(&[
        ("PORT", Align::Left),
        ("LINK", Align::Left),
        ("RECEIVED", Align::Right),
        ("A SECOND", Align::Right),
        ("LAST", Align::Right),
        ("SENT", Align::Right),
        ("A SECOND", Align::Right),
        ("LAST", Align::Right),
    ]);
    for port in &status.ports {
        let link = if port.up { "up" } else { "down" };
        ports.row([
            port.name.clone(),
            link.to_owned(),
            port.received.to_string(),
            port.receiving.packets_per_second.to_string(),
            idle(&port.receiving),
            port.sent.to_string(),
            port.sending.packets_per_second.to_string(),
            idle(&port.sending),
        ]);
    }
    ports.print(paper)?;
    paper.line("")?;
    let mut workers = Table::new(&[("CPU", Align::Right), ("LOAD", Align::Right)]);
    for worker in &status.workers {
        workers.row([worker.cpu.to_string(), percent(worker.load)]);
    }
    workers.print(paper)
}

/// What was: the end of the relay before, the last reload, files that were changed since; and who does not answer.
fn before(status: &Status, paper: &mut Paper) -> Result<()> {
    if let Some(reload) = &status.last_reload {
        let word = if reload.applied { "applied" } else { "refused" };
        let word = paper.word(word, reload.applied);
        paper.data(&format!("reload     {}, {word}: {}", Shown(&reload.time), Shown(&reload.text)))?;
    }
    if !status.files_changed.is_empty() {
        let files = status.files_changed.join(", ");
        paper
            .line(&format!("files      {files}: not as when they were read; borderctl reload takes them"))?;
    }
    if let Some(last) = &status.last_exit {
        let word = paper.word(if last.orderly { "stopped" } else { "died" }, last.orderly);
        let (ran, time, cause) = (ago(last.ran_seconds), Shown(&last.time), Shown(&last.cause));
        paper.data(&format!("before     pid {} {word} {time} after {ran}: {cause}", last.pid))?;
    }
    let queues = &status.queues;
    paper.line(&format!(
        "waiting    {} for a neighbor (the oldest {} ms); {} delivered, {} expired, {} failed, {} without room",
        queues.waiting, queues.oldest_ms, queues.delivered, queues.expired, queues.failed, queues.overflowed
    ))?;
    rings(queues, paper)?;
    let counts = &status.agreement;
    paper.line(&format!(
        "counts     drivers received {} and sent {}; workers received {} and sent {}",
        counts.drivers_received, counts.drivers_sent, counts.workers_received, counts.workers_sent
    ))?;
    let losses = &status.losses;
    paper.line(&format!(
        "losses     here {} a second; {} missed by workers, {} without buffer; damaged {}, not sent {}",
        super::drops::rate(losses.dropped_rate_1m),
        losses.missed,
        losses.no_buffer,
        losses.receive_errors,
        losses.send_errors
    ))?;
    for failing in &status.failing {
        let service =
            failing.service.as_ref().map_or_else(String::new, |service| format!(" (service {service})"));
        let Failing { address, interface, lost, since_seconds, last_seconds, .. } = failing;
        let (since, last) = (ago(*since_seconds), ago(*last_seconds));
        paper.line(&format!(
            "           {address}{service} on {interface} does not answer: {lost} lost since {since}, the last {last} ago"
        ))?;
    }
    Ok(())
}

/// How full the rings to and from the control thread are, of all workers together, and how long they took to be emptied.
fn rings(queues: &Queues, paper: &mut Paper) -> Result<()> {
    type Ring = fn(&WorkerQueues) -> Fill;
    let rings: [(&str, Ring); 3] =
        [("urgent", |rings| rings.urgent), ("other", |rings| rings.other), ("inject", |rings| rings.inject)];
    for (number, (name, ring)) in rings.into_iter().enumerate() {
        let fills = || queues.workers.iter().map(ring);
        let (used, room) = fills().fold((0, 0), |sum, fill| (sum.0 + fill.used, sum.1 + fill.capacity));
        let highest = fills().map(|fill| fill.highest).max().unwrap_or(0);
        let waits = queues.waits.iter().find(|wait| wait.queue == name);
        let waits = waits.map_or_else(String::new, |wait| {
            let QueueWait { mean_us, longest_us, .. } = wait;
            format!("; emptied in {mean_us} us, {longest_us} us at most")
        });
        let title = if number == 0 { "rings" } else { "" };
        paper.line(&format!("{title:<11}{name} {used} of {room} bytes, {highest} at most in one{waits}"))?;
    }
    Ok(())
}

/// How long ago the last packet was.
pub(super) fn idle(flow: &Flow) -> String {
    flow.idle_seconds.map_or_else(|| "never".to_owned(), ago)
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
