//! Traffic of the busiest mappings. All of them are on the control socket, for bills.

use dataplane::meter::Traffic;

use crate::Mappings;
use crate::page::{Kind, Page};

/// Mappings on a page at most, whatever it is given.
const MOST: usize = 50;

pub(crate) fn families(page: &mut Page, mappings: &Mappings<'_>) {
    type Which = fn(&Traffic) -> [u64; 2];
    let families: [(&str, &str, Which); 2] = [
        (
            "mapping_packets",
            "Packets translated for the busiest mappings, fifty at most. All are in `borderctl eam counters`.",
            |traffic| traffic.packets,
        ),
        ("mapping_bytes", "Bytes of these packets, from the IP header on, as received.", |traffic| {
            traffic.bytes
        }),
    ];
    for (name, help, which) in families {
        page.family(name, Kind::Counter, help);
        for (prefix, traffic) in mappings.busiest.iter().take(MOST) {
            let prefix = prefix.to_string();
            for (direction, value) in ["v4_to_v6", "v6_to_v4"].into_iter().zip(which(traffic)) {
                page.sample(&[("mapping", &prefix), ("direction", direction)], value);
            }
        }
    }
    page.family(
        "mapping_uncounted_packets",
        Kind::Counter,
        "Packets not counted for their mappings, for want of room.",
    );
    page.sample(&[], mappings.uncounted);
    page.family("mapping_memory_bytes", Kind::Gauge, "Memory of the counters of mappings.");
    page.sample(&[], mappings.memory);
}
