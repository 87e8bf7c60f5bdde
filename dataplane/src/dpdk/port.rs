//! A port: opened by its device string, closed when it and all its queues are gone.

use std::cell::Cell;
use std::ffi::{CStr, c_char};
use std::marker::PhantomData;
use std::ptr;
use std::sync::{Arc, Mutex};

use dpdk_sys::{
    bl_eth_link, rte_eth_dev_info, rte_eth_stats, rte_eth_xstat, rte_eth_xstat_name, rte_ether_addr,
};

use super::alarm::queues_interrupt;
use super::device::Device;
use super::eal::Eal;
use super::error::{Errno, PortError, Said};
use super::mempool::Mempool;
use super::port_config::{PortConfig, plan};
use super::port_macs::ExtraMacs;
use super::port_setup::{Setup, find, probe};
use super::port_state::{Growing, Link, MacFilter, PortInfo, PortStats};
use super::queue::{RxQueue, TxQueue};

/// The queues of one worker at one port.
#[derive(Debug)]
pub struct QueuePair {
    /// To receive from.
    pub rx: RxQueue,
    /// To transmit to.
    pub tx: TxQueue,
}

/// An open, started port. For one control thread; the workers have its queues.
#[derive(Debug)]
pub struct Port {
    inner: Arc<PortInner>,
    info: PortInfo,
    growing: Box<Cell<Growing>>,
    macs: Box<ExtraMacs>,
    /// DPDK's control calls of one port must not run at the same time: `Send`, and not `Sync`.
    _not_sync: PhantomData<Cell<()>>,
}

/// What the port and its queues share. Its drop, after the last of them, stops and closes the port.
#[derive(Debug)]
pub(super) struct PortInner {
    id: u16,
    started: bool,
    /// Whether each receive queue can interrupt, and was asked to be able to.
    pub(super) interrupts: bool,
    /// For whoever switches the interrupts of a queue: drivers keep those of all queues in one register.
    pub(super) switching: Mutex<()>,
    eal: Eal,
    /// The driver puts received packets here until it is closed.
    _mempools: Vec<Mempool>,
}

impl Port {
    /// Opens and starts `device`, a PCI address or a virtual device, and hands out its queues, each exactly
    /// once.
    ///
    /// # Errors
    /// See [`PortError`]. Whatever was set up until then is undone.
    pub fn open(eal: &Eal, device: &str, config: &PortConfig) -> Result<(Self, Vec<QueuePair>), PortError> {
        config.check(device)?;
        let parsed = Device::parse(device).ok_or_else(|| PortError::Device { device: device.to_owned() })?;
        let mut inner = PortInner::attach(eal, device, parsed, config.mempools.clone())?;

        let offered = inner.dev_info(device)?;
        let driver = text_of(offered.driver_name);
        let mut plan = plan(device, &driver, config, &offered)?;
        let steps = Setup { device, driver: &driver, port: inner.id };
        let (rx_descriptors, tx_descriptors) = steps.bring_up(config, &mut plan)?;
        inner.started = true;
        inner.interrupts = plan.conf.intr_conf.rxq() != 0 && queues_interrupt(inner.id, config.queues);
        let (promiscuous, all_multicast) = steps.receive_modes(config.promiscuous)?;

        let info = PortInfo {
            device: device.to_owned(),
            driver: driver.clone(),
            mac: inner.mac(),
            mtu: config.mtu,
            queues: config.queues,
            max_queues: offered.max_rx_queues.min(offered.max_tx_queues),
            rx_descriptors,
            tx_descriptors,
            numa_node: inner.numa_node(),
            spread: plan.spread,
            ipv4_checksum: plan.ipv4_checksum,
            fast_free: plan.fast_free,
            interrupts: inner.interrupts,
            promiscuous,
            all_multicast,
        };
        let inner = Arc::new(inner);
        let pair = |queue| QueuePair {
            rx: RxQueue::new(&inner, queue),
            tx: TxQueue::new(&inner, queue, plan.fast_free.then(|| config.mempool(queue).clone())),
        };
        let queues = (0..config.queues).map(pair).collect();
        let (growing, macs) = Default::default();
        Ok((Self { inner, info, growing, macs, _not_sync: PhantomData }, queues))
    }

    /// What the port is and was set up to do.
    #[must_use]
    pub fn info(&self) -> &PortInfo {
        &self.info
    }

    /// The state of the cable, without waiting for it to settle.
    #[must_use]
    pub fn link(&self) -> Link {
        let mut link = bl_eth_link::default();
        // SAFETY: writes to `link` only; the port is open. A failure leaves it zero, which is a link that is
        // down.
        unsafe { dpdk_sys::bl_eth_link_get_nowait(self.inner.id, &raw mut link) };
        // A driver whose link goes may forget its counters: whoever follows the link keeps them.
        self.stats();
        Link { up: link.up != 0, speed_mbps: link.speed_mbps, full_duplex: link.full_duplex != 0 }
    }

    /// The basic counters; zeros when the driver has none. They only grow, whatever the driver does.
    pub fn stats(&self) -> PortStats {
        let mut growing = self.growing.get();
        let stats = growing.read(self.driver_stats());
        self.growing.set(growing);
        stats
    }

    fn driver_stats(&self) -> PortStats {
        let mut stats = rte_eth_stats::default();
        // SAFETY: writes to `stats` only; the port is open.
        unsafe { dpdk_sys::rte_eth_stats_get(self.inner.id, &raw mut stats) };
        PortStats {
            ipackets: stats.ipackets,
            opackets: stats.opackets,
            ibytes: stats.ibytes,
            obytes: stats.obytes,
            imissed: stats.imissed,
            ierrors: stats.ierrors,
            oerrors: stats.oerrors,
            rx_nombuf: stats.rx_nombuf,
        }
    }

    /// All counters the driver has, by its own names.
    #[must_use]
    pub fn extended_stats(&self) -> Vec<(String, u64)> {
        // SAFETY: with no place to write to, DPDK only returns how many counters there are.
        let count = unsafe { dpdk_sys::rte_eth_xstats_get(self.inner.id, ptr::null_mut(), 0) };
        let count = u32::try_from(count).unwrap_or(0);
        let mut names = vec![rte_eth_xstat_name::default(); count as usize];
        let mut values = vec![rte_eth_xstat::default(); count as usize];
        // SAFETY: both arrays have `count` places; the port is open, and its counters do not change in number
        // while it is.
        let (named, filled) = unsafe {
            (
                dpdk_sys::rte_eth_xstats_get_names(self.inner.id, names.as_mut_ptr(), count),
                dpdk_sys::rte_eth_xstats_get(self.inner.id, values.as_mut_ptr(), count),
            )
        };
        if u32::try_from(named) != Ok(count) || u32::try_from(filled) != Ok(count) {
            return Vec::new();
        }
        let name = |id: u64| Some(text_of(names.get(usize::try_from(id).ok()?)?.name.as_ptr()));
        values.iter().filter_map(|counter| Some((name(counter.id)?, counter.value))).collect()
    }

    /// Switches the reception of frames for other stations on or off.
    ///
    /// # Errors
    /// [`PortError::Setup`] when the driver refuses.
    pub fn set_promiscuous(&mut self, on: bool) -> Result<(), PortError> {
        let (device, driver) = (&self.info.device, &self.info.driver);
        Setup { device, driver, port: self.inner.id }.set_promiscuous(on)?;
        self.info.promiscuous = on;
        self.macs.forget_last_resort();
        Ok(())
    }

    /// Has frames to these unicast addresses received, besides those to its own, and to no others any more: addresses of
    /// VRRP and macvlan devices above the twin. Where the driver takes no more addresses the port receives everything.
    ///
    /// # Errors
    /// [`PortError::Setup`] when the driver refuses that as well: frames to some of the addresses are not received.
    pub fn set_extra_macs(&mut self, wanted: &[[u8; 6]]) -> Result<MacFilter, PortError> {
        let (device, driver) = (&self.info.device, &self.info.driver);
        let setup = Setup { device, driver, port: self.inner.id };
        let filter = self.macs.set(&setup, wanted)?;
        self.info.promiscuous = filter != MacFilter::Exact;
        Ok(filter)
    }

    /// Closes the port now.
    ///
    /// # Errors
    /// The port itself, still open, when one of its queues is still owned by somebody.
    pub fn close(self) -> Result<(), Self> {
        let Self { inner, info, growing, macs, _not_sync } = self;
        Arc::try_unwrap(inner).map(drop).map_err(|inner| Self { inner, info, growing, macs, _not_sync })
    }
}

impl PortInner {
    pub(super) fn id(&self) -> u16 {
        self.id
    }

    /// Finds the port of `device`, making it when it is virtual.
    fn attach(
        eal: &Eal,
        device: &str,
        parsed: Device<'_>,
        mempools: Vec<Mempool>,
    ) -> Result<Self, PortError> {
        let mut ports = eal.ports();
        let id = match find(parsed) {
            Some(id) => id,
            None => probe(device, parsed)?,
        };
        if !ports.insert(id) {
            return Err(PortError::AlreadyOpen { device: device.to_owned() });
        }
        let (started, interrupts, switching) = Default::default();
        Ok(Self { id, started, interrupts, switching, eal: eal.clone(), _mempools: mempools })
    }

    fn dev_info(&self, device: &str) -> Result<rte_eth_dev_info, PortError> {
        let mut info = rte_eth_dev_info::default();
        // SAFETY: writes to `info` only; the port exists.
        let (result, said) =
            Said::during(|| unsafe { dpdk_sys::rte_eth_dev_info_get(self.id, &raw mut info) });
        match Errno::check(result) {
            Ok(_) => Ok(info),
            Err(errno) => Err(PortError::Setup {
                device: device.to_owned(),
                step: "reading its abilities",
                errno,
                said,
                hint: "",
            }),
        }
    }

    fn mac(&self) -> [u8; 6] {
        let mut mac = rte_ether_addr::default();
        // SAFETY: writes to `mac` only; the port exists.
        unsafe { dpdk_sys::rte_eth_macaddr_get(self.id, &raw mut mac) };
        mac.addr_bytes
    }

    fn numa_node(&self) -> Option<u32> {
        // SAFETY: reads a number; the port exists.
        u32::try_from(unsafe { dpdk_sys::rte_eth_dev_socket_id(self.id) }).ok()
    }
}

impl Drop for PortInner {
    fn drop(&mut self) {
        let mut ports = self.eal.ports();
        let mut info = rte_eth_dev_info::default();
        // SAFETY: the queues hold this struct too, so they are all gone and no thread polls the port; its
        // mempools are alive, they are fields of this struct. The device outlives its port, and is removed
        // under the lock that every change of the device list takes.
        unsafe {
            let known = dpdk_sys::rte_eth_dev_info_get(self.id, &raw mut info) == 0;
            if self.started {
                dpdk_sys::rte_eth_dev_stop(self.id);
            }
            dpdk_sys::rte_eth_dev_close(self.id);
            if known && !info.device.is_null() {
                dpdk_sys::rte_dev_remove(info.device);
            }
        }
        ports.remove(&self.id);
    }
}

/// A C string of DPDK as text.
pub(super) fn text_of(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: callers pass NUL-terminated strings that DPDK owns or just wrote.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dpdk::{EalConfig, Mbuf, Memory};
    use crate::io::{Frames, TransmitQueue};

    /// No virtual driver offers fast free, so the queue is told of it by hand.
    #[test]
    fn mbufs_of_another_pool_are_refused_when_the_nic_frees_blindly() {
        let config = EalConfig { memory: Memory::NoHuge, memory_mb: 32, ..EalConfig::default() };
        let eal = Eal::init(&config).expect("an EAL without hugepages starts anywhere");
        let pool = |name| Mempool::create(&eal, name, 63, 0, 2176).expect("32 MB hold two small pools");
        let (own, strange) = (pool("own"), pool("strange"));
        let config = PortConfig { mempools: vec![own.clone()], ..PortConfig::default() };
        let (port, _queues) = Port::open(&eal, "net_ring0", &config).expect("net_ring opens anywhere");
        let mut tx = TxQueue::new(&port.inner, 0, Some(own.clone()));

        let pools = [&own, &strange, &own, &strange, &strange];
        let mut frames: Frames<Mbuf> = pools.into_iter().filter_map(Mempool::allocate_mbuf).collect();
        tx.transmit(&mut frames);
        assert!(frames.len() == 3 && frames.iter().all(|frame| frame.pool() == strange.as_ptr()));
        assert_eq!((own.in_use(), strange.in_use()), (2, 3));
        frames.clear();
        assert_eq!(strange.in_use(), 0);
    }
}
