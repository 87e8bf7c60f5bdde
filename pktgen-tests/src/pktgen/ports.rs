//! DPDK and the two ports, from start to stop.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use dataplane::dpdk::{
    Eal, EalConfig, LogLevel, Memory, Mempool, Port, PortConfig, PortStats, QueuePair, RxQueue, TxQueue,
    data_room_for_mtu,
};

use super::config::{self, Config};
use super::error::PktgenError;
use super::form::Family;
use super::stream::{IPV4, IPV6};

/// Packet buffers: the descriptors of both ports, and then some for drivers with many more.
const MBUFS: u32 = 16_383;
/// Buffers an lcore keeps for itself.
const CACHE: u32 = 256;
/// What an IPv6 packet may be longer than the IPv4 frame it is made of: by 28 bytes than the packet in it, a fragment,
/// less Ethernet header and frame check sequence.
const GROWTH: u16 = 28 - 14 - 4;

/// The two open ports, without their queues.
pub struct Ports {
    ports: [Port; 2],
    names: [String; 2],
    pool: Mempool,
    eal: Eal,
}

/// Their queues.
pub struct Queues {
    /// To receive from, by port.
    pub rx: [RxQueue; 2],
    /// To transmit to, by port.
    pub tx: [TxQueue; 2],
}

impl Ports {
    /// Starts DPDK on the first lcore, which the calling thread becomes, and opens both ports. `largest` is the largest
    /// frame on the IPv4 side.
    ///
    /// # Errors
    /// What DPDK refuses.
    pub fn open(config: &Config, largest: u16) -> Result<(Self, Queues), PktgenError> {
        if let Some(sockets) = &config.dpdk.sockets {
            fs::create_dir_all(sockets).map_err(PktgenError::file(sockets))?;
        }
        let devices = [Family::Ipv4, Family::Ipv6].map(|family| device(config, config.port(family)));
        let eal = Eal::init(&EalConfig {
            memory: match config.dpdk.memory {
                config::Memory::Hugepages => Memory::Hugepages,
                config::Memory::NoHuge => Memory::NoHuge,
            },
            memory_mb: config.dpdk.memory_mb,
            control_cpus: config.dpdk.lcores.first().copied().into_iter().collect(),
            devices: devices.to_vec(),
            extra_args: config.dpdk.extra_args.clone(),
            log: warn,
            ..EalConfig::default()
        })?;
        let mtu = (largest + GROWTH).max(1500);
        let pool = Mempool::create(&eal, "pktgen", MBUFS, CACHE, data_room_for_mtu(mtu))?;
        let port_config = PortConfig { mtu, mempools: vec![pool.clone()], ..PortConfig::default() };
        let open = |device: &str| -> Result<(Port, QueuePair), PktgenError> {
            let (mut port, mut queues) = Port::open(&eal, device, &port_config)?;
            // Cards filter by their own address, which need not be the configured one. Most virtual devices have no
            // such filter, and say that they cannot switch it off.
            port.set_promiscuous(true).ok();
            Ok((port, queues.pop().expect("one queue pair was asked for")))
        };
        let (port4, queues4) = open(&devices[IPV4])?;
        let (port6, queues6) = open(&devices[IPV6])?;
        let names = [Family::Ipv4, Family::Ipv6].map(|family| config.port(family).name.clone());
        let queues = Queues { rx: [queues4.rx, queues6.rx], tx: [queues4.tx, queues6.tx] };
        Ok((Self { ports: [port4, port6], names, pool, eal }, queues))
    }

    /// Waits until both links are up.
    ///
    /// # Errors
    /// [`PktgenError::LinkDown`], or [`PktgenError::Interrupted`] when `stop` is set.
    pub fn wait_for_links(&self, seconds: f64, stop: &AtomicBool) -> Result<(), PktgenError> {
        let start = Instant::now();
        for (port, name) in self.ports.iter().zip(&self.names) {
            while !port.link().up {
                if stop.load(Ordering::Relaxed) {
                    return Err(PktgenError::Interrupted);
                }
                if start.elapsed().as_secs_f64() >= seconds {
                    let device = port.info().device.clone();
                    return Err(PktgenError::LinkDown { port: name.clone(), device, seconds });
                }
                thread::sleep(Duration::from_millis(10));
            }
        }
        Ok(())
    }

    /// Where packets are made.
    #[must_use]
    pub fn pool(&self) -> &Mempool {
        &self.pool
    }

    /// DPDK.
    #[must_use]
    pub fn eal(&self) -> &Eal {
        &self.eal
    }

    /// Name and counters of each port, as its driver counts.
    #[must_use]
    pub fn stats(&self) -> [(String, PortStats); 2] {
        [0, 1].map(|port| (self.names[port].clone(), self.ports[port].stats()))
    }
}

/// DPDK's log as far as it matters here.
fn warn(level: LogLevel, line: &str) {
    if level <= LogLevel::Warning {
        eprintln!("dpdk: {line}");
    }
}

/// The device string with the directory of sockets in it.
fn device(config: &Config, port: &config::Port) -> String {
    let sockets = config.dpdk.sockets.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    port.device.replace("{sockets}", &sockets)
}
