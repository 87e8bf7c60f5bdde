//! Everything a configuration can say that cannot work, all of it at once.

use super::{Config, LARGEST_FRAGMENT, LARGEST_FRAME};
use crate::pktgen::address::MOST_EAMS;
use crate::pktgen::form::{Family, IPV4_OVERHEAD, Protocol, shortest_payload};
use crate::pktgen::tag::FLOWS;

impl Config {
    /// Everything that cannot work.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        self.port_problems(&mut problems);
        self.traffic_problems(&mut problems);
        self.trial_problems(&mut problems);
        problems
    }

    fn port_problems(&self, problems: &mut Vec<String>) {
        let families: Vec<Family> = self.ports.iter().map(|port| port.family).collect();
        if self.ports.len() != 2 || families[0] == families[1] {
            problems
                .push("two [[port]] sections are needed, one of family \"ipv4\" and one of \"ipv6\"".into());
        }
        if !(1..=2).contains(&self.dpdk.lcores.len()) {
            problems
                .push("[dpdk] lcores: name one CPU, or two (the first sends, the second receives)".into());
        }
        for port in &self.ports {
            if port.device.contains("{sockets}") && self.dpdk.sockets.is_none() {
                problems
                    .push(format!("port {}: {{sockets}} needs [dpdk] sockets = \"DIRECTORY\"", port.name));
            }
        }
    }

    fn traffic_problems(&self, problems: &mut Vec<String>) {
        let traffic = &self.traffic;
        if !(1..=MOST_EAMS).contains(&traffic.eams) {
            problems.push(format!("eams = {}: give 1 to {MOST_EAMS}", traffic.eams));
        }
        if traffic.flows > FLOWS {
            problems.push(format!("flows = {}: a packet's tag has room for {FLOWS}", traffic.flows));
        }
        if traffic.prefix.prefix_len() != 96 {
            problems.push(format!("prefix = \"{}\": it must have 96 bits", traffic.prefix));
        }
        if u32::from(traffic.native_ipv4) + u32::from(traffic.native_ipv6) > 100 {
            problems.push("native_ipv4 and native_ipv6 are per cent: 100 together at most".into());
        }
        if traffic.fragments && traffic.protocol == Protocol::Icmp {
            problems.push("fragments: no translator passes fragments of ICMP, use udp or tcp".into());
        }
        if traffic.fragments && !traffic.udp_checksum {
            problems.push(
                "fragments: a translator cannot compute their checksum, leave udp_checksum = true".into(),
            );
        }
        if !traffic.udp_checksum && traffic.protocol != Protocol::Udp {
            problems.push("udp_checksum = false needs protocol = \"udp\"".into());
        }
        let smallest = (shortest_payload(traffic.protocol, traffic.fragments) + IPV4_OVERHEAD).max(64);
        let largest = if traffic.fragments { LARGEST_FRAGMENT } else { LARGEST_FRAME };
        for size in self.sizes() {
            let (low, high) = (size.round().into_iter().min().unwrap_or(0), size.largest());
            if usize::from(low) < smallest || high > largest {
                problems.push(format!(
                    "frame_bytes = {size}: give {smallest} to {largest}, frame check sequence included"
                ));
            }
        }
    }

    fn trial_problems(&self, problems: &mut Vec<String>) {
        let trial = &self.trial;
        if !(trial.seconds > 0.0 && trial.seconds <= 3600.0) {
            problems.push(format!("[trial] seconds = {}: give more than 0, 3600 at most", trial.seconds));
        }
        if !(0.0..=60.0).contains(&trial.ready_seconds) || trial.drain_ms > 60_000 {
            problems.push("[trial] ready_seconds and drain_ms: wait a minute at most".into());
        }
        if !(0.0001..=0.5).contains(&trial.precision) {
            problems.push(format!("[trial] precision = {}: give 0.0001 to 0.5", trial.precision));
        }
        if !(0.0..=1.0).contains(&trial.loss_tolerance) {
            problems.push(format!("[trial] loss_tolerance = {}: give 0 to 1", trial.loss_tolerance));
        }
        if !(1..=1000).contains(&trial.repetitions) {
            problems.push(format!("[trial] repetitions = {}: give 1 to 1000", trial.repetitions));
        }
    }
}
