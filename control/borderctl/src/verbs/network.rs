//! `ports`, `workers`, `routes`, `neighbors`, `counters`.

use control_api::{Counters, Neighbors, Ports, Routes, Workers, path};
use serde_json::Value;

use super::Context;
use super::status::idle;
use crate::args::Watch;
use crate::client::Request;
use crate::error::Result;
use crate::view::{Align, Table, or_dash, percent};

pub(crate) fn ports(context: &Context, watch: &Watch) -> Result<()> {
    context.watch(&Request::get(path::PORTS), watch, |ports: &Ports, paper| {
        let mut table = Table::new(&[
            ("PORT", Align::Left),
            ("TWIN", Align::Left),
            ("LINK", Align::Left),
            ("MBIT/S", Align::Right),
            ("MTU", Align::Right),
            ("QUEUES", Align::Right),
            ("MAC", Align::Left),
            ("RECEIVED", Align::Right),
            ("A SECOND", Align::Right),
            ("BIT/S", Align::Right),
            ("LAST", Align::Right),
            ("SENT", Align::Right),
            ("A SECOND", Align::Right),
            ("BIT/S", Align::Right),
            ("LAST", Align::Right),
            ("MISSED", Align::Right),
            ("ERRORS", Align::Right),
            ("NO MBUF", Align::Right),
            ("DRIVER", Align::Left),
            ("DEVICE", Align::Left),
        ]);
        for port in &ports.ports {
            table.row([
                port.name.clone(),
                port.twin.clone(),
                if port.up { "up" } else { "down" }.to_owned(),
                or_dash(port.speed_mbps),
                port.mtu.to_string(),
                port.queues.to_string(),
                port.mac.clone(),
                port.received.to_string(),
                port.receiving.packets_per_second.to_string(),
                port.receiving.bits_per_second.to_string(),
                idle(&port.receiving),
                port.sent.to_string(),
                port.sending.packets_per_second.to_string(),
                port.sending.bits_per_second.to_string(),
                idle(&port.sending),
                port.missed.to_string(),
                port.errors.to_string(),
                port.no_mbuf.to_string(),
                port.driver.clone(),
                port.device.clone(),
            ]);
        }
        table.print(paper)
    })
}

pub(crate) fn workers(context: &Context, watch: &Watch) -> Result<()> {
    context.watch(&Request::get(path::WORKERS), watch, |workers: &Workers, paper| {
        let mut table = Table::new(&[
            ("CPU", Align::Right),
            ("LOAD", Align::Right),
            ("A SECOND", Align::Right),
            ("HOLDS", Align::Right),
            ("RECEIVED", Align::Right),
            ("SENT", Align::Right),
            ("PUNTED", Align::Right),
            ("DROPPED", Align::Right),
            ("BUSY CYCLES", Align::Right),
            ("IDLE CYCLES", Align::Right),
        ]);
        for worker in &workers.workers {
            table.row([
                worker.cpu.to_string(),
                percent(worker.load),
                worker.packets_per_second.to_string(),
                or_dash(worker.holds_packets_per_second),
                worker.received.to_string(),
                worker.sent.to_string(),
                worker.punted.to_string(),
                worker.dropped.to_string(),
                worker.busy_cycles.to_string(),
                worker.idle_cycles.to_string(),
            ]);
        }
        table.print(paper)
    })
}

pub(crate) fn routes(context: &Context, limit: Option<u32>, watch: &Watch) -> Result<()> {
    let request = Request::get(path::ROUTES).query("limit", limit);
    context.watch(&request, watch, |routes: &Routes, paper| {
        let mut table = Table::new(&[
            ("DESTINATION", Align::Left),
            ("KIND", Align::Left),
            ("METRIC", Align::Right),
            ("MTU", Align::Right),
            ("WEIGHT", Align::Right),
            ("VIA", Align::Left),
            ("DEV", Align::Left),
            ("WORKERS", Align::Left),
        ]);
        for route in &routes.routes {
            let worker = route.worker.clone();
            let head =
                [route.destination.clone(), route.kind.clone(), route.metric.to_string(), or_dash(route.mtu)];
            if route.paths.is_empty() {
                let [destination, kind, metric, mtu] = head.clone();
                let none = || "-".to_owned();
                table.row([destination, kind, metric, mtu, none(), none(), none(), worker.clone()]);
            }
            // Further paths of the same route stand below the first.
            let heads = std::iter::once(head).chain(std::iter::repeat_with(Default::default));
            for (way, [destination, kind, metric, mtu]) in route.paths.iter().zip(heads) {
                let (weight, gateway) = (way.weight.to_string(), or_dash(way.gateway.as_ref()));
                let worker = if destination.is_empty() { String::new() } else { worker.clone() };
                table.row([destination, kind, metric, mtu, weight, gateway, way.interface.clone(), worker]);
            }
        }
        table.print(paper)?;
        let listed = routes.routes.len() as u64;
        if listed < routes.total {
            paper.line(&format!("the first of {} routes; --limit shows more", routes.total))?;
        }
        Ok(())
    })
}

pub(crate) fn neighbors(context: &Context, watch: &Watch) -> Result<()> {
    context.watch(&Request::get(path::NEIGHBORS), watch, |neighbors: &Neighbors, paper| {
        let mut table = Table::new(&[
            ("ADDRESS", Align::Left),
            ("DEV", Align::Left),
            ("STATE", Align::Left),
            ("MAC", Align::Left),
            ("WORKERS", Align::Left),
            ("SERVICE", Align::Left),
            ("WAITING", Align::Right),
            ("LOST", Align::Right),
        ]);
        for neighbor in &neighbors.neighbors {
            let (address, interface) = (neighbor.address.clone(), neighbor.interface.clone());
            table.row([
                address,
                interface,
                neighbor.state.clone(),
                or_dash(neighbor.mac.as_ref()),
                neighbor.worker.clone(),
                or_dash(neighbor.service.as_ref()),
                neighbor.waiting.to_string(),
                neighbor.lost.to_string(),
            ]);
        }
        table.print(paper)
    })
}

pub(crate) fn counters(context: &Context, watch: &Watch) -> Result<()> {
    context.watch(&Request::get(path::COUNTERS), watch, |counters: &Counters, paper| {
        let mut table = Table::new(&[("COUNTER", Align::Left), ("COUNT", Align::Right)]);
        for (name, value) in &counters.0 {
            flatten(name, value, &mut table);
        }
        table.print(paper)
    })
}

/// A line for each number, named by the way to it.
fn flatten(name: &str, value: &Value, table: &mut Table) {
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                flatten(&format!("{name}.{member}"), value, table);
            }
        }
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                let called = item.get("name").and_then(Value::as_str);
                let called = called.map_or_else(|| number.to_string(), ToOwned::to_owned);
                flatten(&format!("{name}.{called}"), item, table);
            }
        }
        Value::Number(count) => table.row([name.to_owned(), count.to_string()]),
        Value::String(_) | Value::Bool(_) | Value::Null => {}
    }
}
