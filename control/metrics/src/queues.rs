//! Where packets that were handed to the control thread are, and for whom they were lost.

use control::kernel::{Fill, Queues, RingFills, WAIT_BOUNDS};

use crate::NextHop;
use crate::page::{Kind, Page};

/// Failing next hops on a page at most: those that lost a packet last.
const MOST_HOPS: usize = 10;

/// One number of a ring.
type Which = fn(&Fill) -> usize;

pub(crate) fn families(page: &mut Page, queues: &Queues, failing: &[NextHop]) {
    let fills: [(&str, &str, Which); 2] = [
        (
            "ring_used_bytes",
            "Bytes in a ring between worker and control thread: urgent (ARP, neighbours, routing, the box) and other, \
             to the control thread, inject from it.",
            |fill| fill.used,
        ),
        ("ring_highest_bytes", "Bytes that were in it at most since the start.", |fill| fill.highest),
    ];
    for (name, help, which) in fills {
        page.family(name, Kind::Gauge, help);
        for (worker, rings) in queues.rings.iter().enumerate() {
            let worker = worker.to_string();
            for (ring, fill) in by_name(rings) {
                page.sample(&[("worker", &worker), ("ring", ring)], which(&fill) as u64);
            }
        }
    }
    page.family("ring_capacity_bytes", Kind::Gauge, "Bytes such a ring has room for.");
    for (ring, fill) in queues.rings.first().into_iter().flat_map(by_name) {
        page.sample(&[("ring", ring)], fill.capacity as u64);
    }
    waits(page, queues);
    waiting(page, queues);
    hops(page, queues.failing.len(), failing);
}

fn by_name(rings: &RingFills) -> [(&'static str, Fill); 3] {
    [("urgent", rings.urgent), ("other", rings.other), ("inject", rings.inject)]
}

fn waits(page: &mut Page, queues: &Queues) {
    let waits =
        [("urgent", queues.waits.urgent), ("other", queues.waits.other), ("neighbor", queues.waits.neighbor)];
    page.histogram(
        "queue_wait_seconds",
        "How long the rings to the control thread took to be emptied since their workers rang (urgent, other), and how long \
         packets waited that were sent when their next hop answered (neighbor).",
    );
    for (queue, waits) in &waits {
        page.buckets(&[("queue", queue)], &WAIT_BOUNDS, &waits.counts, waits.sum.as_secs_f64());
    }
    page.family("queue_longest_wait_seconds", Kind::Gauge, "The longest of these since the start.");
    for (queue, waits) in &waits {
        page.real(&[("queue", queue)], waits.longest.as_secs_f64());
    }
}

fn waiting(page: &mut Page, queues: &Queues) {
    page.family("neighbor_waiting_packets", Kind::Gauge, "Packets that wait for a link-layer address now.");
    let packets: usize = queues.waiting.iter().map(|hop| hop.packets).sum();
    page.sample(&[], packets as u64);
    page.family("neighbor_waiting_oldest_seconds", Kind::Gauge, "How long the oldest of them has waited.");
    let oldest = queues.waiting.iter().map(|hop| hop.oldest).max().unwrap_or_default();
    page.real(&[], oldest.as_secs_f64());
}

fn hops(page: &mut Page, all: usize, failing: &[NextHop]) {
    page.family(
        "next_hops_failing",
        Kind::Gauge,
        "Next hops that packets were lost for since they last answered.",
    );
    page.sample(&[], all as u64);
    type Number = fn(&NextHop) -> u64;
    let families: [(&str, &str, Number); 3] = [
        (
            "next_hop_lost_packets",
            "Packets lost for a next hop since it last answered, of ten next hops at most. `service` is the address \
             mapped to it.",
            |hop| hop.lost,
        ),
        ("next_hop_failing_seconds", "Time since the first of them.", |hop| hop.since.as_secs()),
        ("next_hop_last_lost_seconds", "Time since the last of them.", |hop| hop.last.as_secs()),
    ];
    for (name, help, number) in families {
        page.family(name, Kind::Gauge, help);
        for hop in failing.iter().take(MOST_HOPS) {
            let service = hop.service.as_deref().unwrap_or_default();
            let labels =
                [("next_hop", hop.address.as_str()), ("interface", &hop.interface), ("service", service)];
            page.sample(&labels, number(hop));
        }
    }
}
