//! Ports, workers and packet memory: what DPDK is asked for, in one place, and what the control actor sees of it.

use std::time::{Duration, Instant};

use control::actor::{Link, Machine, PortCounts, PortFacts};
use control::config::{self, Config};
use dataplane::counters::Counts;
use dataplane::dpdk::{
    self, Eal, EalConfig, LogLevel, MacFilter, Mempool, Port, PortConfig, QueuePair, interface_of,
};
use dataplane::table::routing::MacAddress;
use dataplane::timing::Timings;
use dataplane::worker::longest_sleep;

use crate::app::AppError;
use crate::workers::Workers;

/// Descriptors of each queue.
const DESCRIPTORS: u16 = 1024;
/// Mbufs each lcore keeps for itself.
const MEMPOOL_CACHE: u32 = 256;
/// Mbufs a queue pair has in the hands of its worker at most.
const BURSTS_IN_FLIGHT: u32 = 128;

/// The ports, the workers on them, and the memory of both.
pub(crate) struct DpdkMachine {
    facts: Vec<PortFacts>,
    cpus: Vec<u16>,
    workers: Workers,
    ports: Vec<Port>,
    mempool: Mempool,
}

/// What is there before there are ports, and can be there while another process has them.
pub(crate) struct Ground {
    eal: Eal,
    mempool: Mempool,
}

impl Ground {
    /// Starts DPDK and takes its memory.
    pub(crate) fn lay(config: &Config) -> Result<Self, AppError> {
        let eal = Eal::init(&eal_config(config))?;
        let mempool = mempool(&eal, config)?;
        Ok(Self { eal, mempool })
    }

    /// Whether it could be laid, and whether DPDK has a driver for every port. Nothing is opened, so this is not tried where
    /// `extra_args` names devices, which DPDK opens when it starts.
    pub(crate) fn check(config: &Config) -> Result<(), AppError> {
        let names =
            |argument: &String| ["-a", "--allow", "--vdev"].iter().any(|option| argument.starts_with(option));
        if config.dpdk.extra_args.iter().any(names) {
            return Ok(());
        }
        let apart = EalConfig { devices: Vec::new(), ..eal_config(config) };
        let eal = Eal::init(&apart)?;
        mempool(&eal, config)?;
        config.ports.iter().try_for_each(|port| {
            let found = dpdk::find_driver(&eal, port.device.argument());
            found.map_err(|error| AppError::Port { port: port.name.clone(), error })
        })
    }

    /// Whether it can be laid while another process has the same ports: cards are opened when DPDK starts.
    pub(crate) fn is_apart_from_ports(config: &Config) -> bool {
        let is_apart = |port: &config::Port| {
            let device = port.device.argument();
            !matches!(port.device, config::Device::Pci(_))
                && !["slave=", "member="].iter().any(|key| device.contains(key))
        };
        let allows = |argument: &String| argument.starts_with("-a") || argument.starts_with("--allow");
        config.ports.iter().all(is_apart) && !config.dpdk.extra_args.iter().any(allows)
    }
}

/// What is there before there are workers.
pub(crate) struct Opened {
    pub(crate) eal: Eal,
    pub(crate) mempool: Mempool,
    pub(crate) ports: Vec<Port>,
    pub(crate) queues: Vec<Vec<QueuePair>>,
}

impl Opened {
    /// Opens every port; starts DPDK unless that has been done. A port that another process had is waited for, for
    /// as long as `patience`: the kernel lets go of it some time after that has ended.
    pub(crate) fn open(
        config: &Config,
        ground: Option<Ground>,
        patience: Duration,
    ) -> Result<Self, AppError> {
        let Ground { eal, mempool } = match ground {
            Some(ground) => ground,
            None => Ground::lay(config)?,
        };
        let (ports, queues) = open_ports(&eal, config, &mempool, patience)?;
        Ok(Self { eal, mempool, ports, queues })
    }
}

impl DpdkMachine {
    pub(crate) fn new(config: &Config, ports: Vec<Port>, mempool: Mempool, workers: Workers) -> Self {
        let facts = config.ports.iter().zip(&ports).map(|(port, open)| facts(port, open)).collect();
        Self { facts, cpus: config.dpdk.workers.clone(), workers, ports, mempool }
    }

    /// Closes the ports. The workers have ended.
    pub(crate) fn close(self) {
        let kept = self.ports.iter().map(kept_by_driver).sum::<usize>();
        for port in self.ports {
            let device = port.info().device.clone();
            if port.close().is_err() {
                tracing::warn!(device, "port still in use, left open");
            }
        }
        let lost = self.mempool.in_use().saturating_sub(kept);
        if lost > 0 {
            tracing::warn!(mbufs = lost, "mbufs were not returned: somebody lost them; please report this");
        }
    }
}

impl Machine for DpdkMachine {
    fn ports(&self) -> &[PortFacts] {
        &self.facts
    }

    fn link(&self, port: usize) -> Option<Link> {
        let link = self.ports.get(port)?.link();
        Some(Link { up: link.up, speed_mbps: Some(link.speed_mbps).filter(|speed| *speed != u32::MAX) })
    }

    fn links_changed(&self) {
        let sleep = |port: &Port| longest_sleep(port.info().rx_descriptors, port.link().speed_mbps);
        if let Some(longest) = self.ports.iter().map(sleep).min() {
            self.workers.sleep_limit().set(longest);
        }
    }

    fn set_extra_macs(&mut self, port: usize, macs: &[MacAddress]) {
        let (Some(open), Some(facts)) = (self.ports.get_mut(port), self.facts.get(port)) else {
            return;
        };
        let macs: Vec<[u8; 6]> = macs.iter().map(|mac| mac.0).collect();
        let (port, count) = (&facts.name, macs.len());
        match open.set_extra_macs(&macs) {
            Ok(MacFilter::Exact | MacFilter::Promiscuous) => {
                tracing::info!(port, macs = count, "receives frames to further MAC addresses");
            }
            Ok(MacFilter::LastResort(why)) => {
                tracing::warn!(
                    port,
                    macs = count,
                    "receives all frames, since its NIC takes no more MAC addresses: {why}"
                );
            }
            Err(error) => {
                tracing::warn!(port, "frames to further MAC addresses (VRRP, macvlan) are lost: {error}");
            }
        }
    }

    fn port_counts(&self, port: usize) -> PortCounts {
        let Some(port) = self.ports.get(port) else {
            return PortCounts::default();
        };
        let stats = port.stats();
        PortCounts {
            received: stats.ipackets,
            sent: stats.opackets,
            received_bytes: stats.ibytes,
            sent_bytes: stats.obytes,
            missed: stats.imissed,
            receive_errors: stats.ierrors,
            send_errors: stats.oerrors,
            no_mbuf: stats.rx_nombuf,
        }
    }

    fn worker_cpus(&self) -> &[u16] {
        &self.cpus
    }

    fn worker_counts(&self) -> Vec<Counts> {
        self.workers.counts()
    }

    fn worker_timings(&self) -> Vec<Timings> {
        self.workers.timings()
    }

    fn hertz(&self) -> u64 {
        dpdk::tsc_hz()
    }

    fn mbufs_in_use(&self) -> usize {
        self.mempool.in_use()
    }

    fn stop_workers(&mut self) {
        self.workers.stop();
    }
}

/// Mbufs that a closed port never returns. net_af_xdp leaves those in the rings it shares with the kernel: up to 2048 in
/// each of four per queue, however few it was asked for. All others return everything.
fn kept_by_driver(port: &Port) -> usize {
    const AF_XDP_RINGS: usize = 4 * 2048;
    let info = port.info();
    if info.driver == "net_af_xdp" { usize::from(info.queues) * AF_XDP_RINGS } else { 0 }
}

fn facts(port: &config::Port, open: &Port) -> PortFacts {
    let info = open.info();
    PortFacts {
        name: port.name.clone(),
        device: info.device.clone(),
        driver: info.driver.clone(),
        interface: interface_behind(&info.device).map(str::to_owned),
        mac: info.mac,
        mtu: info.mtu,
    }
}

/// The kernel interface under a device, whose driver does not know its state.
pub(crate) fn interface_behind(device: &str) -> Option<&str> {
    interface_of(device).map(|(interface, _)| interface)
}

pub(crate) fn eal_config(config: &Config) -> EalConfig {
    EalConfig {
        memory: match config.dpdk.memory {
            config::Memory::Hugepages => dpdk::Memory::Hugepages,
            config::Memory::NoHuge => dpdk::Memory::NoHuge,
        },
        memory_mb: config.dpdk.memory_mb,
        control_cpus: Vec::new(),
        devices: config.ports.iter().map(|port| port.device.argument().to_owned()).collect(),
        telemetry: false,
        extra_args: config.dpdk.extra_args.clone(),
        log: log_dpdk,
    }
}

/// DPDK is chatty about what is normal on virtual devices: only its warnings and errors are ours.
fn log_dpdk(level: LogLevel, line: &str) {
    match level {
        LogLevel::Error | LogLevel::Warning => tracing::warn!("DPDK: {line}"),
        LogLevel::Notice | LogLevel::Info | LogLevel::Debug => tracing::debug!("DPDK: {line}"),
    }
}

/// One mempool for all ports and workers, large enough for every queue to be full at once. Some drivers hold more
/// than their descriptors: net_af_xdp fills 2048 buffers per queue whatever it is asked for.
fn mempool(eal: &Eal, config: &Config) -> Result<Mempool, AppError> {
    const PER_QUEUE: u32 = 2 * DESCRIPTORS as u32 + 2048 + BURSTS_IN_FLIGHT;
    let workers = u32::try_from(config.dpdk.workers.len()).unwrap_or(u32::MAX);
    let ports = u32::try_from(config.ports.len()).unwrap_or(u32::MAX);
    let queues = workers.saturating_mul(ports);
    let count = queues.saturating_mul(PER_QUEUE).saturating_add(workers.saturating_mul(2 * MEMPOOL_CACHE));
    let mtu = config.ports.iter().map(|port| port.mtu).max().unwrap_or(1500);
    Ok(Mempool::create(eal, "borderline", count, MEMPOOL_CACHE, dpdk::data_room_for_mtu(mtu))?)
}

type OpenPorts = (Vec<Port>, Vec<Vec<QueuePair>>);

/// Ports that another process had are waited for, all of them together for as long as `patience`.
fn open_ports(
    eal: &Eal,
    config: &Config,
    mempool: &Mempool,
    patience: Duration,
) -> Result<OpenPorts, AppError> {
    let until = Instant::now() + patience;
    let mut opened = (Vec::new(), Vec::new());
    for port in &config.ports {
        let wanted = PortConfig {
            queues: u16::try_from(config.dpdk.workers.len()).unwrap_or(u16::MAX),
            mtu: port.mtu,
            rx_descriptors: DESCRIPTORS,
            tx_descriptors: DESCRIPTORS,
            promiscuous: false,
            mempools: vec![mempool.clone()],
            fast_free: true,
            interrupts: config.dpdk.poll != config::Poll::Busy,
        };
        dpdk::wait_until_free(port.device.argument(), until.saturating_duration_since(Instant::now()));
        let (open, queues) = Port::open(eal, port.device.argument(), &wanted)
            .map_err(|error| AppError::Port { port: port.name.clone(), error })?;
        let info = open.info();
        tracing::info!(
            port = port.name,
            device = info.device,
            driver = info.driver,
            queues = info.queues,
            spread = ?info.spread,
            mtu = info.mtu,
            idle = if info.interrupts { "interrupts" } else { "sleep" },
            "port opened"
        );
        opened.0.push(open);
        opened.1.push(queues);
    }
    Ok(opened)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_on_a_kernel_interface_name_it() {
        assert_eq!(interface_behind("net_af_xdp0,iface=eth1,start_queue=2"), Some("eth1"));
        assert_eq!(interface_behind("net_af_packet7,qpairs=1,iface=v0"), Some("v0"));
        assert_eq!(interface_behind("0000:3b:00.0"), None);
        assert_eq!(interface_behind("net_tap0,iface=tap0"), None, "the driver knows");
    }
}
