//! The way from a device string to a working port. Each step turns a failure into an error naming the device.

use std::ffi::CString;
use std::ptr;

use super::device::{Device, argument_hint, mtu_hint, privilege_hint};
use super::eal::Eal;
use super::error::{Errno, PortError, Said};
use super::log;
use super::port_config::{AF_PACKET_SETS, Plan, PortConfig, check_slots};
use super::precheck;

/// The port DPDK has under the name of `device`.
pub(super) fn find(device: Device<'_>) -> Option<u16> {
    let name = CString::new(device.port_name()).ok()?;
    let mut id = 0;
    // SAFETY: the name is NUL-terminated; DPDK writes to `id` only.
    (unsafe { dpdk_sys::rte_eth_dev_get_port_by_name(name.as_ptr(), &raw mut id) } == 0).then_some(id)
}

/// What is wrong with a device and the MTU wanted of it, as far as can be told without DPDK, and without touching it.
///
/// # Errors
/// See [`PortError`].
pub fn inspect_device(device: &str, mtu: u16) -> Result<(), PortError> {
    let device = device.to_owned();
    let Some(parsed) = Device::parse(&device) else {
        return Err(PortError::Device { device });
    };
    if parsed.card_exists() == Some(false) {
        return Err(PortError::NoSuchCard { device });
    }
    if let Some(driver) = parsed.kernel_driver() {
        return Err(PortError::KernelOwned { device, driver });
    }
    parsed.members().iter().try_for_each(|member| inspect_device(member, mtu))?;
    // Other releases take other arguments.
    if let Some(hint) = argument_hint(parsed).filter(|_| dpdk_sys::BL_VERSION_YEAR == 22) {
        return Err(PortError::Arguments { device, hint });
    }
    precheck::look(&device, parsed)?;
    // Up to here the driver sets it on the interface itself.
    if parsed.driver() == Some("net_af_packet") && mtu > AF_PACKET_SETS {
        check_slots(&device, mtu)?;
        check_interface_mtu(&device, parsed, mtu)?;
    }
    Ok(())
}

/// Whether DPDK, which has been started, has a driver for a device; nothing is opened.
///
/// # Errors
/// [`PortError::Device`] or [`PortError::NoDriver`].
pub fn find_driver(_started: &Eal, device: &str) -> Result<(), PortError> {
    let unusable = || PortError::Device { device: device.to_owned() };
    let parsed = Device::parse(device).ok_or_else(unusable)?;
    for text in parsed.members().into_iter().chain([device.to_owned()]) {
        let name = Device::parse(&text).and_then(|device| CString::new(device.port_name()).ok());
        let name = name.ok_or_else(unusable)?;
        // SAFETY: the string is NUL-terminated; DPDK keeps nothing of it.
        let (result, said) = Said::during(|| unsafe { dpdk_sys::bl_devargs_check(name.as_ptr()) });
        if Errno::check(result).is_err() {
            return Err(PortError::NoDriver { device: text, said });
        }
    }
    Ok(())
}

/// For an MTU DPDK does not let the driver set on its interface: somebody must have set it before.
fn check_interface_mtu(text: &str, device: Device<'_>, mtu: u16) -> Result<(), PortError> {
    match device.interface_mtu() {
        Some((interface, actual)) if u32::from(mtu) > actual => {
            let (device, interface) = (text.to_owned(), interface.to_owned());
            Err(PortError::InterfaceMtu { device, interface, mtu, actual })
        }
        _ => Ok(()),
    }
}

/// What the driver of a device needs and this process lacks, if anything.
#[must_use]
pub fn missing_privileges(device: &str) -> Option<&'static str> {
    Some(privilege_hint(device).trim_start_matches(": ")).filter(|hint| !hint.is_empty())
}

/// The kernel interface whose frames a device takes, and whether it takes them away from the kernel by XDP.
#[must_use]
pub fn interface_of(device: &str) -> Option<(&str, bool)> {
    let parsed = Device::parse(device)?;
    match parsed.driver()? {
        "net_af_xdp" => Some((parsed.argument("iface")?, true)),
        "net_af_packet" => Some((parsed.argument("iface")?, false)),
        _ => None,
    }
}

/// Has DPDK make the port of `device`. The caller holds the lock of the device list.
pub(super) fn probe(device: &str, parsed: Device<'_>) -> Result<u16, PortError> {
    let device = device.to_owned();
    if parsed.card_exists() == Some(false) {
        return Err(PortError::NoSuchCard { device });
    }
    if let Some(driver) = parsed.kernel_driver() {
        return Err(PortError::KernelOwned { device, driver });
    }
    precheck::check(&device, parsed)?;
    for member in parsed.members() {
        let of_it = Device::parse(&member).ok_or_else(|| PortError::Device { device: member.clone() })?;
        if find(of_it).is_none() {
            probe(&member, of_it)?;
        }
    }
    let Ok(arguments) = CString::new(parsed.for_driver()) else {
        return Err(PortError::Device { device });
    };
    // SAFETY: the string is NUL-terminated and copied by DPDK; nobody else changes the device list meanwhile.
    let (result, said) = Said::during(|| unsafe { dpdk_sys::rte_dev_probe(arguments.as_ptr()) });
    match (Errno::check(result), find(parsed)) {
        (Ok(_), Some(id)) => Ok(id),
        (Ok(_), None) => Err(PortError::NotProbed { device, said }),
        // What EAL says of a name no driver answers to.
        (Err(Errno::EFAULT), _) => Err(PortError::NoDriver { device, said }),
        (Err(errno), _) => {
            let hint = probe_hint(parsed, &device, &said);
            Err(PortError::Probe { device, errno, said, hint })
        }
    }
}

/// The remedy for a device its driver refused.
fn probe_hint(parsed: Device<'_>, device: &str, said: &Said) -> String {
    let lacking = privilege_hint(device);
    if !lacking.is_empty() {
        lacking.to_owned()
    } else if said.text().contains("Invalid socket directory") {
        ": this process may not write to the directory of the socket".to_owned()
    } else {
        argument_hint(parsed).unwrap_or_else(|| ": correct the arguments of the device".to_owned())
    }
}

/// A port that exists and is not in use yet.
pub(super) struct Setup<'a> {
    pub(super) device: &'a str,
    pub(super) driver: &'a str,
    pub(super) port: u16,
}

impl Setup<'_> {
    /// Configures and starts the port, without receive interrupts where that fails with them; returns the descriptors per
    /// receive and per transmit queue.
    pub(super) fn bring_up(&self, config: &PortConfig, plan: &mut Plan) -> Result<(u16, u16), PortError> {
        let attempt = |plan: &Plan| {
            let descriptors = self.configure(config, plan)?;
            self.start().map(|()| descriptors)
        };
        if plan.conf.intr_conf.rxq() != 0 {
            if let Ok(descriptors) = log::attempting(|| attempt(plan)) {
                return Ok(descriptors);
            }
            plan.conf.intr_conf.set_rxq(0);
        }
        attempt(plan)
    }

    /// Sets offloads, MTU and queues; returns the descriptors per receive and per transmit queue.
    fn configure(&self, config: &PortConfig, plan: &Plan) -> Result<(u16, u16), PortError> {
        let (port, queues) = (self.port, config.queues);
        self.step("configuring it", || {
            // SAFETY: the port exists and is stopped; DPDK copies the configuration.
            unsafe { dpdk_sys::rte_eth_dev_configure(port, queues, queues, &raw const plan.conf) }
        })?;
        if plan.mtu == config.mtu {
            self.set_mtu(config.mtu)?;
        } else {
            Device::parse(self.device)
                .map_or(Ok(()), |device| check_interface_mtu(self.device, device, config.mtu))?;
        }
        let (mut rx, mut tx) = (config.rx_descriptors, config.tx_descriptors);
        self.step("fitting its descriptors", || {
            // SAFETY: DPDK changes the two numbers only.
            unsafe { dpdk_sys::rte_eth_dev_adjust_nb_rx_tx_desc(port, &raw mut rx, &raw mut tx) }
        })?;
        for queue in 0..queues {
            self.set_up_queue(config, queue, rx, tx)?;
        }
        Ok((rx, tx))
    }

    fn set_up_queue(&self, config: &PortConfig, queue: u16, rx: u16, tx: u16) -> Result<(), PortError> {
        let port = self.port;
        let mempool = config.mempool(queue).as_ptr();
        // SAFETY: reads a number; the port exists. "No node" is -1, which as unsigned is what DPDK takes for
        // "any node".
        let node = unsafe { dpdk_sys::rte_eth_dev_socket_id(port) }.cast_unsigned();
        self.step("setting up a receive queue", || {
            // SAFETY: the port is configured and stopped; it keeps the mempool alive until it is closed.
            unsafe { dpdk_sys::rte_eth_rx_queue_setup(port, queue, rx, node, ptr::null(), mempool) }
        })?;
        self.step("setting up a transmit queue", || {
            // SAFETY: the port is configured and stopped.
            unsafe { dpdk_sys::rte_eth_tx_queue_setup(port, queue, tx, node, ptr::null()) }
        })
    }

    fn set_mtu(&self, mtu: u16) -> Result<(), PortError> {
        // SAFETY: the port is configured and stopped.
        let (result, said) = Said::during(|| unsafe { dpdk_sys::rte_eth_dev_set_mtu(self.port, mtu) });
        let errno = match Errno::check(result) {
            // Without a way to set it, the driver has no MTU of its own: what fits its buffers passes.
            Ok(_) | Err(Errno::ENOTSUP) => return Ok(()),
            Err(errno) => errno,
        };
        let hint = match privilege_hint(self.device) {
            "" => mtu_hint(self.driver),
            lacking => lacking,
        };
        Err(PortError::MtuRefused { device: self.device.to_owned(), mtu, errno, said, hint })
    }

    fn start(&self) -> Result<(), PortError> {
        // SAFETY: the port is configured with all its queues.
        self.step("starting it", || unsafe { dpdk_sys::rte_eth_dev_start(self.port) })
    }

    /// Receives all multicast, or everything where there is a switch for that only. Returns (promiscuous, all
    /// multicast).
    pub(super) fn receive_modes(&self, promiscuous: bool) -> Result<(bool, bool), PortError> {
        // OSPF, ND and VRRP speak to multicast addresses that nobody subscribes at the NIC.
        // SAFETY: the port is started.
        let all_multicast = unsafe { dpdk_sys::rte_eth_allmulticast_enable(self.port) } == 0;
        if promiscuous {
            self.set_promiscuous(true)?;
            return Ok((true, all_multicast));
        }
        let instead = !all_multicast && self.set_promiscuous(true).is_ok();
        Ok((instead, all_multicast))
    }

    pub(super) fn set_promiscuous(&self, on: bool) -> Result<(), PortError> {
        self.step("changing its promiscuous mode", || {
            // SAFETY: the port is started.
            unsafe {
                if on {
                    dpdk_sys::rte_eth_promiscuous_enable(self.port)
                } else {
                    dpdk_sys::rte_eth_promiscuous_disable(self.port)
                }
            }
        })
    }

    pub(super) fn step(&self, step: &'static str, call: impl FnOnce() -> i32) -> Result<(), PortError> {
        let (result, said) = Said::during(call);
        let Err(errno) = Errno::check(result) else {
            return Ok(());
        };
        let lacks_privileges = matches!(errno, Errno::EPERM | Errno::EACCES);
        let hint = if lacks_privileges { privilege_hint(self.device) } else { "" };
        Err(PortError::Setup { device: self.device.to_owned(), step, errno, said, hint })
    }
}
