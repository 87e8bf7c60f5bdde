//! The unicast addresses a port receives besides its own.

use dpdk_sys::rte_ether_addr;

use super::error::PortError;
use super::port_setup::Setup;
use super::port_state::MacFilter;

/// What a NIC lets be set.
pub(super) trait Receive {
    fn add(&self, mac: [u8; 6]) -> Result<(), PortError>;
    fn remove(&self, mac: [u8; 6]) -> Result<(), PortError>;
    fn is_promiscuous(&self) -> bool;
    fn promiscuous(&self, on: bool) -> Result<(), PortError>;
}

/// What the NIC was told so far.
#[derive(Debug, Default)]
pub(super) struct ExtraMacs {
    known: Vec<[u8; 6]>,
    /// The port receives everything because the NIC does not know some address.
    last_resort: bool,
}

impl ExtraMacs {
    /// See [`super::Port::set_extra_macs`].
    pub(super) fn set(&mut self, nic: &impl Receive, wanted: &[[u8; 6]]) -> Result<MacFilter, PortError> {
        self.known.retain(|mac| wanted.contains(mac) || nic.remove(*mac).is_err());
        let mut refusal = None;
        for mac in wanted {
            if self.known.contains(mac) {
                continue;
            }
            match nic.add(*mac) {
                Ok(()) => self.known.push(*mac),
                Err(error) => refusal = Some(error),
            }
        }
        if nic.is_promiscuous() && !self.last_resort {
            return Ok(MacFilter::Promiscuous);
        }
        if refusal.is_some() != self.last_resort {
            nic.promiscuous(refusal.is_some())?;
            self.last_resort = refusal.is_some();
        }
        Ok(refusal.map_or(MacFilter::Exact, |error| MacFilter::LastResort(error.to_string())))
    }

    /// Somebody else has decided about promiscuous mode.
    pub(super) const fn forget_last_resort(&mut self) {
        self.last_resort = false;
    }
}

impl Receive for Setup<'_> {
    fn add(&self, mac: [u8; 6]) -> Result<(), PortError> {
        let mut address = rte_ether_addr { addr_bytes: mac };
        self.step("adding a MAC address", || {
            // SAFETY: the port is started; DPDK copies the address.
            unsafe { dpdk_sys::rte_eth_dev_mac_addr_add(self.port, &raw mut address, 0) }
        })
    }

    fn remove(&self, mac: [u8; 6]) -> Result<(), PortError> {
        let mut address = rte_ether_addr { addr_bytes: mac };
        self.step("removing a MAC address", || {
            // SAFETY: the port is started; DPDK only reads the address.
            unsafe { dpdk_sys::rte_eth_dev_mac_addr_remove(self.port, &raw mut address) }
        })
    }

    fn is_promiscuous(&self) -> bool {
        // SAFETY: reads a number; the port is open.
        unsafe { dpdk_sys::rte_eth_promiscuous_get(self.port) == 1 }
    }

    fn promiscuous(&self, on: bool) -> Result<(), PortError> {
        self.set_promiscuous(on)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dpdk::error::{Errno, Said};
    use std::cell::RefCell;

    /// A NIC with room for two addresses.
    #[derive(Default)]
    struct Nic(RefCell<(Vec<u8>, bool)>);

    impl Receive for Nic {
        fn add(&self, mac: [u8; 6]) -> Result<(), PortError> {
            let (known, _) = &mut *self.0.borrow_mut();
            if known.len() == 2 {
                let (device, step, said) = ("nic".into(), "adding a MAC address", Said::during(|| ()).1);
                return Err(PortError::Setup { device, step, errno: Errno::ENOMEM, said, hint: "" });
            }
            known.push(mac[5]);
            Ok(())
        }

        fn remove(&self, mac: [u8; 6]) -> Result<(), PortError> {
            self.0.borrow_mut().0.retain(|known| *known != mac[5]);
            Ok(())
        }

        fn is_promiscuous(&self) -> bool {
            self.0.borrow().1
        }

        fn promiscuous(&self, on: bool) -> Result<(), PortError> {
            self.0.borrow_mut().1 = on;
            Ok(())
        }
    }

    #[test]
    fn a_full_filter_is_replaced_by_receiving_everything_and_no_longer_than_needed() {
        let (nic, mut macs) = (Nic::default(), ExtraMacs::default());
        let mut set = |lasts: &[u8]| {
            let wanted: Vec<[u8; 6]> = lasts.iter().map(|last| [0, 0, 0x5e, 0, 1, *last]).collect();
            let filter = macs.set(&nic, &wanted).unwrap();
            let (known, promiscuous) = nic.0.borrow().clone();
            (filter, known, promiscuous)
        };
        assert_eq!(set(&[1, 2]), (MacFilter::Exact, vec![1, 2], false));
        let (filter, known, promiscuous) = set(&[1, 2, 3]);
        assert!(matches!(filter, MacFilter::LastResort(why) if why.contains("adding a MAC address")));
        assert_eq!((known, promiscuous), (vec![1, 2], true));
        assert_eq!(set(&[2, 3]), (MacFilter::Exact, vec![2, 3], false));
        nic.0.borrow_mut().1 = true;
        assert_eq!(set(&[]), (MacFilter::Promiscuous, vec![], true), "asked for by somebody else");
    }
}
