//! The relay as device under test: between the two wires, in a namespace of its own for its twins.

use std::path::Path;
use std::thread;
use std::time::Duration;

use super::Vdev;
use super::cpus::{self, SUBJECT_CPU};
use super::vdev::PORTS;
use super::{BenchError, Build, generator};
use crate::lab::{Counters, LabError, Namespace, Relay, WorkerCounters, wait_until};

/// What is being relayed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting<'a> {
    /// Virtual wires.
    pub(super) vdev: Vdev,
    /// Where their sockets are.
    pub(super) sockets: &'a Path,
    /// The file of mappings.
    pub(super) eams: &'a Path,
    /// Further lines of the section `[translation]`.
    pub(super) translation: &'a str,
}

impl Setting<'_> {
    fn to_toml(self) -> String {
        let [v4, v6] = self.vdev.of_subject(self.sockets);
        format!(
            "eam_files = [\"{eams}\"]\n\
             [dpdk]\nworkers = [{SUBJECT_CPU}]\nmemory = \"hugepages\"\nmemory_mb = 256\npoll = \"busy\"\n\
             extra_args = [\"--single-file-segments\"]\n\
             [[port]]\nname = \"v4\"\ndevice = \"{v4}\"\nmtu = 1500\n\
             [[port]]\nname = \"v6\"\ndevice = \"{v6}\"\nmtu = 1520\n\
             [translation]\nprefixes = [\"2001:db8:46::/96\"]\nservice_pools = [\"100.64.0.0/10\"]\n\
             icmp_source_pool = [\"198.51.100.1/32\"]\n{translation}\n",
            eams = self.eams.display(),
            translation = self.translation,
        )
    }
}

/// A running relay whose routes and neighbours are known. Its fields are dropped in order.
#[derive(Debug)]
pub(super) struct RelayUnderTest {
    /// The process.
    pub(super) relay: Relay,
    /// The MAC addresses of its ports, IPv4 first: where frames have to go.
    pub(super) macs: [String; 2],
    _namespace: Namespace,
}

/// The relay's own address on each port, and the generator's, to which everything is routed.
const ADDRESSES: [(&str, &str); 2] =
    [("203.0.113.1/24", "203.0.113.2"), ("2001:db8:ffff::1/64", "2001:db8:ffff::2")];

impl RelayUnderTest {
    /// Starts a relay and tells the kernel of its namespace where everything is.
    ///
    /// # Errors
    /// When it does not come up.
    pub(super) fn start(build: &Build, setting: Setting) -> Result<Self, BenchError> {
        let namespace = Namespace::new("bench")?;
        let relay = Relay::run(&build.borderline, &namespace, &setting.to_toml(), &PORTS)?;
        let macs = [connect(&namespace, 0)?, connect(&namespace, 1)?];
        if !wait_until(Duration::from_secs(2), || cpus::prefer_workers(relay.pid())) {
            return Err(relay.error("has no worker thread").into());
        }
        // Until the relay has heard of the last route.
        thread::sleep(Duration::from_millis(300));
        Ok(Self { relay, macs, _namespace: namespace })
    }

    /// Ends it; cycles its worker spent on each packet.
    ///
    /// # Errors
    /// As [`RelayUnderTest::finish`].
    pub(super) fn stop(self) -> Result<f64, BenchError> {
        let counters = self.finish()?;
        let sum = |of: fn(&WorkerCounters) -> u64| counters.workers.iter().map(of).sum::<u64>();
        #[expect(clippy::cast_precision_loss, reason = "a run has fewer cycles than 2^52")]
        let (cycles, packets) =
            (sum(|worker| worker.busy_cycles) as f64, sum(|worker| worker.received) as f64);
        Ok(cycles / packets)
    }

    /// Ends it; its last counters.
    ///
    /// # Errors
    /// When it does not end, or its counters do not add up.
    pub(super) fn finish(self) -> Result<Counters, BenchError> {
        let (_, counters) = self.relay.stop()?;
        if counters.balance() && counters.received > 0 {
            return Ok(counters);
        }
        let text = format!("{counters:?}");
        Err(LabError::Unreadable { what: "counters that add up".into(), text }.into())
    }
}

/// Gives a twin its address, neighbour and default route; the twin's MAC address.
fn connect(namespace: &Namespace, number: usize) -> Result<String, LabError> {
    let twin = format!("bl-{}", PORTS[number]);
    let (own, neighbor) = ADDRESSES[number];
    namespace.ip(&format!("addr add {own} dev {twin}"))?;
    namespace.ip(&format!("link set {twin} up"))?;
    namespace.ip(&format!(
        "neigh replace {neighbor} lladdr {} dev {twin} nud permanent",
        generator::MACS[number]
    ))?;
    namespace.ip(&format!("route add default via {neighbor} dev {twin}"))?;
    let address = namespace.cmd("cat").arg(format!("/sys/class/net/{twin}/address")).ok()?;
    Ok(address.stdout.trim().to_owned())
}
