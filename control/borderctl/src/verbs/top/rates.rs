//! From two readings to what happens in a second: the one model behind the screen and `--once --json`.

use std::collections::HashMap;

use control_api::{Load, MappingCounters, MappingLoad, Traffic};
use serde::Serialize;

/// What happened in a second, on average between two readings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Rates {
    /// Between the two.
    pub(crate) seconds: f64,
    pub(crate) ports: Vec<PortRates>,
    pub(crate) workers: Vec<WorkerRates>,
    pub(crate) costs: Vec<CostRates>,
    /// Most frequent first.
    pub(crate) drops: Vec<DropRates>,
    pub(crate) mapping_counters: MappingCounters,
    /// Busiest first.
    pub(crate) mappings: Vec<MappingRates>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Flow {
    pub(crate) packets_per_second: f64,
    pub(crate) bits_per_second: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct PortRates {
    pub(crate) name: String,
    pub(crate) up: bool,
    pub(crate) speed_mbps: Option<u32>,
    pub(crate) receive: Flow,
    pub(crate) transmit: Flow,
    pub(crate) missed_per_second: f64,
    pub(crate) errors_per_second: f64,
    pub(crate) no_mbuf_per_second: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct WorkerRates {
    pub(crate) cpu: u16,
    /// Busy cycles of all cycles, 0 to 1.
    pub(crate) load: f64,
    pub(crate) received_per_second: f64,
    pub(crate) sent_per_second: f64,
    /// What it would receive at full load, at this cost of a packet; none while it receives nothing.
    pub(crate) capacity_per_second: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct CostRates {
    pub(crate) direction: String,
    pub(crate) verdict: String,
    pub(crate) cycles_per_packet: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct DropRates {
    pub(crate) reason: String,
    pub(crate) packets_per_second: f64,
    /// Since the reader's zero.
    pub(crate) since_zero: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct MappingRates {
    pub(crate) ipv4: String,
    pub(crate) ipv6: Option<String>,
    pub(crate) v4_to_v6: Flow,
    pub(crate) v6_to_v4: Flow,
}

/// Between two counts. A relay that began again counts from zero.
fn grown(before: u64, after: u64) -> u64 {
    after.checked_sub(before).unwrap_or(after)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
fn real(count: u64) -> f64 {
    count as f64
}

/// To three digits behind the point: nobody reads more.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

struct Span(f64);

impl Span {
    fn rate(&self, before: u64, after: u64) -> f64 {
        rounded(real(grown(before, after)) / self.0)
    }

    fn flow(&self, before: Traffic, after: Traffic) -> Flow {
        Flow {
            packets_per_second: self.rate(before.packets, after.packets),
            bits_per_second: self.rate(before.bytes.saturating_mul(8), after.bytes.saturating_mul(8)),
        }
    }
}

impl Rates {
    /// From `before` to `after`; totals since `zero`.
    pub(crate) fn between(zero: &Load, before: &Load, after: &Load) -> Self {
        let nanoseconds = grown(before.at_ns, after.at_ns).max(1);
        let span = Span(real(nanoseconds) / 1e9);
        Self {
            seconds: rounded(span.0),
            ports: ports(&span, before, after),
            workers: workers(&span, before, after),
            costs: costs(before, after),
            drops: drops(&span, zero, before, after),
            mapping_counters: after.mapping_counters,
            mappings: mappings(&span, before, after),
        }
    }

    /// Packets received in a second, by all ports.
    pub(crate) fn received(&self) -> f64 {
        self.ports.iter().map(|port| port.receive.packets_per_second).sum()
    }
}

fn ports(span: &Span, before: &Load, after: &Load) -> Vec<PortRates> {
    let known: HashMap<_, _> = before.ports.iter().map(|port| (&port.name, port)).collect();
    let port = |now: &control_api::PortLoad| {
        let then = known.get(&now.name).copied().unwrap_or(now);
        PortRates {
            name: now.name.clone(),
            up: now.up,
            speed_mbps: now.speed_mbps,
            receive: span.flow(then.receive, now.receive),
            transmit: span.flow(then.transmit, now.transmit),
            missed_per_second: span.rate(then.missed, now.missed),
            errors_per_second: span.rate(then.errors, now.errors),
            no_mbuf_per_second: span.rate(then.no_mbuf, now.no_mbuf),
        }
    };
    after.ports.iter().map(port).collect()
}

fn workers(span: &Span, before: &Load, after: &Load) -> Vec<WorkerRates> {
    let worker = |(then, now): (&control_api::WorkerLoad, &control_api::WorkerLoad)| {
        let busy = grown(then.busy_cycles, now.busy_cycles);
        let all = busy + grown(then.idle_cycles, now.idle_cycles);
        let load = real(busy) / real(all.max(1));
        let received = span.rate(then.received, now.received);
        WorkerRates {
            cpu: now.cpu,
            load: rounded(load),
            received_per_second: received,
            sent_per_second: span.rate(then.sent, now.sent),
            capacity_per_second: (received > 0.0 && load > 0.0).then(|| (received / load).round()),
        }
    };
    before.workers.iter().zip(&after.workers).map(worker).collect()
}

fn costs(before: &Load, after: &Load) -> Vec<CostRates> {
    let cost = |(then, now): (&control_api::CostLoad, &control_api::CostLoad)| {
        let packets = grown(then.packets, now.packets);
        (packets > 0).then(|| CostRates {
            direction: now.direction.clone(),
            verdict: now.verdict.clone(),
            cycles_per_packet: rounded(real(grown(then.cycles, now.cycles)) / real(packets)),
        })
    };
    before.costs.iter().zip(&after.costs).filter_map(cost).collect()
}

fn drops(span: &Span, zero: &Load, before: &Load, after: &Load) -> Vec<DropRates> {
    let at = |load: &Load, reason: &str| {
        load.drops.iter().find(|drop| drop.reason == reason).map_or(0, |drop| drop.count)
    };
    let drop = |now: &control_api::ReasonLoad| DropRates {
        reason: now.reason.clone(),
        packets_per_second: span.rate(at(before, &now.reason), now.count),
        since_zero: grown(at(zero, &now.reason), now.count),
    };
    let mut drops: Vec<DropRates> = after.drops.iter().map(drop).filter(|drop| drop.since_zero > 0).collect();
    drops.sort_by(|one, other| {
        let by_rate = other.packets_per_second.total_cmp(&one.packets_per_second);
        by_rate.then(other.since_zero.cmp(&one.since_zero)).then(one.reason.cmp(&other.reason))
    });
    drops
}

fn mappings(span: &Span, before: &Load, after: &Load) -> Vec<MappingRates> {
    let known: HashMap<_, _> = before.mappings.iter().map(|mapping| (&mapping.ipv4, mapping)).collect();
    let mapping = |now: &MappingLoad| {
        // One that was not among the busiest before: its traffic until then is unknown.
        let then = known.get(&now.ipv4).copied().unwrap_or(now);
        MappingRates {
            ipv4: now.ipv4.clone(),
            ipv6: now.ipv6.clone(),
            v4_to_v6: span.flow(then.v4_to_v6, now.v4_to_v6),
            v6_to_v4: span.flow(then.v6_to_v4, now.v6_to_v4),
        }
    };
    let bits = |mapping: &MappingRates| mapping.v4_to_v6.bits_per_second + mapping.v6_to_v4.bits_per_second;
    let mut mappings: Vec<MappingRates> = after.mappings.iter().map(mapping).collect();
    mappings.sort_by(|one, other| bits(other).total_cmp(&bits(one)).then(one.ipv4.cmp(&other.ipv4)));
    mappings
}

#[cfg(test)]
pub(super) mod tests {
    use control_api::{CostLoad, PortLoad, ReasonLoad, WorkerLoad};

    use super::*;

    /// A relay after so many half seconds of the same traffic.
    pub(crate) fn load(halves: u64) -> Load {
        let traffic = |packets: u64| Traffic { packets: packets * halves, bytes: 100 * packets * halves };
        let reason = |(reason, each): (&str, u64)| ReasonLoad { reason: reason.into(), count: each * halves };
        Load {
            at_ns: 500_000_000 * halves,
            hertz: 2_000_000_000,
            ports: vec![PortLoad {
                name: "uplink".into(),
                up: true,
                speed_mbps: Some(10_000),
                receive: traffic(500_000),
                transmit: traffic(250_000),
                missed: 5 * halves,
                errors: 0,
                no_mbuf: 0,
            }],
            workers: vec![WorkerLoad {
                cpu: 3,
                received: 500_000 * halves,
                sent: 250_000 * halves,
                busy_cycles: 250_000_000 * halves,
                idle_cycles: 750_000_000 * halves,
            }],
            costs: vec![
                CostLoad {
                    direction: "v4_to_v6".into(),
                    verdict: "translated".into(),
                    packets: 1000 * halves,
                    cycles: 123_000 * halves,
                },
                CostLoad { direction: "none".into(), verdict: "punted".into(), packets: 0, cycles: 0 },
            ],
            drops: [("no_route", 1), ("source_not_mapped", 9)].map(reason).into(),
            mapping_counters: MappingCounters::Exact,
            mappings: vec![MappingLoad {
                ipv4: "192.0.2.7/32".into(),
                ipv6: Some("2001:db8:12:34::7/128".into()),
                owner: Some("store".into()),
                v4_to_v6: traffic(1000),
                v6_to_v4: traffic(2000),
            }],
        }
    }

    #[test]
    fn rates_are_differences_by_the_relays_clock() {
        let rates = Rates::between(&load(2), &load(4), &load(6));
        assert!((rates.seconds - 1.0).abs() < 1e-9);
        let port = &rates.ports[0];
        assert_eq!((port.receive.packets_per_second, port.receive.bits_per_second), (1e6, 8e8));
        assert_eq!((port.transmit.packets_per_second, port.missed_per_second), (5e5, 10.0));
        let worker = &rates.workers[0];
        assert_eq!(
            (worker.load, worker.received_per_second, worker.capacity_per_second),
            (0.25, 1e6, Some(4e6))
        );
        assert_eq!(rates.costs.len(), 1, "no packet, no cost");
        assert_eq!(rates.costs[0].cycles_per_packet, 123.0);
        let drops: Vec<_> = rates
            .drops
            .iter()
            .map(|drop| (&drop.reason[..], drop.packets_per_second, drop.since_zero))
            .collect();
        assert_eq!(drops, [("source_not_mapped", 18.0, 36), ("no_route", 2.0, 4)]);
        assert_eq!(rates.mappings[0].v6_to_v4, Flow { packets_per_second: 4000.0, bits_per_second: 3.2e6 });
    }

    #[test]
    fn a_relay_that_began_again_counts_from_zero() {
        let rates = Rates::between(&load(100), &load(100), &load(2));
        assert_eq!(rates.ports[0].receive.packets_per_second, 1e6);
        assert_eq!(rates.drops[0].since_zero, 18);
    }
}
