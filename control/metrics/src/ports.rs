//! What the ports' drivers count.

use control::actor::{PortCounts, PortStatus, Status};

use crate::page::{Kind, Page};

pub(crate) fn families(page: &mut Page, status: &Status) {
    let ports = &status.ports[..];
    gauges(page, ports);
    idle(page, ports);
    both(
        page,
        ports,
        "port_packets",
        "Frames the port's driver handed to the workers (receive) or sent (transmit).",
        |counts| (counts.received, counts.sent),
    );
    both(
        page,
        ports,
        "port_bytes",
        "Bytes the port's driver handed to the workers (receive) or sent (transmit).",
        |counts| (counts.received_bytes, counts.sent_bytes),
    );
    both(
        page,
        ports,
        "port_errors",
        "Frames that came damaged (receive) or could not be sent (transmit). Look at the cable, the optics and the MTU.",
        |counts| (counts.receive_errors, counts.send_errors),
    );
    page.family(
        "port_missed_packets",
        Kind::Counter,
        "Frames lost before a worker could fetch them: the workers do not keep up, or were not on their CPUs.",
    );
    each(page, ports, |counts| counts.missed);
    page.family(
        "port_no_buffer",
        Kind::Counter,
        "Times the driver found no packet buffer to receive into. Raise memory_mb.",
    );
    each(page, ports, |counts| counts.no_mbuf);
}

fn gauges(page: &mut Page, ports: &[PortStatus]) {
    page.family("port", Kind::Info, "What the port is.");
    for port in ports {
        let facts = &port.facts;
        page.sample(&[("port", &facts.name), ("twin", &port.twin), ("driver", &facts.driver)], 1);
    }
    page.family("port_up", Kind::Gauge, "Whether frames can pass.");
    for port in ports {
        page.sample(&[("port", &port.facts.name)], u64::from(port.link.is_some_and(|link| link.up)));
    }
    page.family("port_speed_bytes", Kind::Gauge, "Bytes per second the link carries; absent when unknown.");
    for port in ports {
        if let Some(speed) = port.link.and_then(|link| link.speed_mbps) {
            page.sample(&[("port", &port.facts.name)], u64::from(speed) * 125_000);
        }
    }
    page.family("port_mtu_bytes", Kind::Gauge, "Largest IP packet of the port.");
    for port in ports {
        page.sample(&[("port", &port.facts.name)], u64::from(port.facts.mtu));
    }
}

fn idle(page: &mut Page, ports: &[PortStatus]) {
    page.family(
        "port_idle_seconds",
        Kind::Gauge,
        "Time since the last frame the port received, or sent; absent until there was one.",
    );
    for port in ports {
        let flows = [("receive", port.activity.received), ("transmit", port.activity.sent)];
        for (direction, idle) in flows.iter().filter_map(|(way, flow)| Some((*way, flow.idle?))) {
            page.real(&[("port", &port.facts.name), ("direction", direction)], idle.as_secs_f64());
        }
    }
}

fn each(page: &mut Page, ports: &[PortStatus], value: impl Fn(&PortCounts) -> u64) {
    for port in ports {
        page.sample(&[("port", &port.facts.name)], value(&port.counts));
    }
}

/// A family with both directions.
fn both(
    page: &mut Page,
    ports: &[PortStatus],
    name: &'static str,
    help: &str,
    values: impl Fn(&PortCounts) -> (u64, u64),
) {
    page.family(name, Kind::Counter, help);
    for port in ports {
        let (received, sent) = values(&port.counts);
        for (direction, value) in [("receive", received), ("transmit", sent)] {
            page.sample(&[("port", &port.facts.name), ("direction", direction)], value);
        }
    }
}
