//! `trace --services`: which mappings the packets of a moment belong to. It needs no counters of mappings.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use control_api::{CaptureTotals, CapturedPacket};
use serde_json::json;

use super::Context;
use super::capture::share;
use crate::error::Result;
use crate::view::{Align, Paper, Table, percent};

/// What has no mapping.
const NONE: &str = "no EAM";

/// Packets and bytes as received, by mapping. A packet between two mapped hosts is counted for both.
#[derive(Debug, Default)]
pub(super) struct Services {
    by_mapping: BTreeMap<String, (u64, u64)>,
    bytes: u64,
}

impl Services {
    pub(super) fn count(&mut self, packet: &CapturedPacket) {
        let none = [NONE.to_owned()];
        let mappings = if packet.mappings.is_empty() { &none[..] } else { &packet.mappings };
        for mapping in mappings {
            let (packets, bytes) = self.by_mapping.entry(mapping.clone()).or_default();
            *packets += 1;
            *bytes += packet.before.length;
        }
        self.bytes += packet.before.length;
    }

    pub(super) fn print(&self, context: &Context, totals: &CaptureTotals, paper: &mut Paper) -> Result<()> {
        let mut all: Vec<_> = self.by_mapping.iter().collect();
        all.sort_by_key(|(mapping, (_, bytes))| (Reverse(*bytes), *mapping));
        if context.json {
            let services: Vec<_> = all
                .iter()
                .map(|(mapping, (packets, bytes))| json!({"mapping": mapping, "packets": packets, "bytes": bytes}))
                .collect();
            let answer = json!({
                "matched": totals.matched, "captured": totals.captured, "lost": totals.lost, "services": services,
            });
            return paper.line(&answer.to_string());
        }
        use Align::{Left, Right};
        let mut table =
            Table::new(&[("PACKETS", Right), ("BYTES", Right), ("SHARE", Right), ("SERVICE", Left)]);
        for (mapping, (packets, bytes)) in all {
            table.row([
                packets.to_string(),
                bytes.to_string(),
                percent(share(*bytes, self.bytes)),
                mapping.clone(),
            ]);
        }
        table.print(paper)
    }
}
