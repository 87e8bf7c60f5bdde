//! Carries the MAC addresses of VRRP and macvlan devices above the twins to the ports.

use dataplane::table::fib::Fib;
use dataplane::table::routing::{Interface, MacAddress, PortId};

use super::machine::Machine;

/// What each port was last asked to receive besides its own address, sorted.
#[derive(Debug)]
pub(super) struct ExtraMacs(Vec<Vec<MacAddress>>);

impl ExtraMacs {
    pub(super) fn new(ports: usize) -> Self {
        Self(vec![Vec::new(); ports])
    }

    /// Asks the ports whose interfaces have other addresses than before.
    pub(super) fn follow(&mut self, fib: &Fib, machine: &mut impl Machine) {
        let none = fib.interfaces().iter().all(|interface| interface.extra_macs.is_empty());
        if none && self.0.iter().all(Vec::is_empty) {
            return;
        }
        for (port, asked) in self.0.iter_mut().enumerate() {
            let wanted = wanted(fib.interfaces(), port);
            if *asked != wanted {
                machine.set_extra_macs(port, &wanted);
                *asked = wanted;
            }
        }
    }
}

/// Those of the port's VLANs too: the NIC's filter knows none.
fn wanted(interfaces: &[Interface], port: usize) -> Vec<MacAddress> {
    let of_port =
        |interface: &&Interface| u16::try_from(port).is_ok_and(|port| interface.port == PortId(port));
    let mut macs: Vec<MacAddress> = interfaces
        .iter()
        .filter(of_port)
        .flat_map(|interface| interface.extra_macs.iter().copied())
        .collect();
    macs.sort_unstable_by_key(|mac| mac.0);
    macs.dedup();
    macs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::{Link, PortCounts, PortFacts};
    use dataplane::counters::Counts;
    use dataplane::table::routing::{InterfaceId, Routing, TableId};

    #[derive(Default)]
    struct Asked(Vec<(usize, Vec<u8>)>);

    impl Machine for Asked {
        fn set_extra_macs(&mut self, port: usize, macs: &[MacAddress]) {
            self.0.push((port, macs.iter().map(|mac| mac.0[5]).collect()));
        }

        fn ports(&self) -> &[PortFacts] {
            &[]
        }

        fn link(&self, _port: usize) -> Option<Link> {
            None
        }

        fn links_changed(&self) {}

        fn port_counts(&self, _port: usize) -> PortCounts {
            PortCounts::default()
        }

        fn worker_cpus(&self) -> &[u16] {
            &[]
        }

        fn worker_counts(&self) -> Vec<Counts> {
            Vec::new()
        }

        fn worker_timings(&self) -> Vec<dataplane::timing::Timings> {
            Vec::new()
        }

        fn hertz(&self) -> u64 {
            1_000_000_000
        }

        fn mbufs_in_use(&self) -> usize {
            0
        }

        fn stop_workers(&mut self) {}
    }

    fn fib(interfaces: &[(u16, Option<u16>, &[u8])]) -> Fib {
        let interface = |(id, (port, vlan, macs)): (u16, &(u16, Option<u16>, &[u8]))| Interface {
            id: InterfaceId(id),
            port: PortId(*port),
            vlan: *vlan,
            table: TableId::default(),
            mac: MacAddress([2, 0, 0, 0, 0, 0]),
            extra_macs: macs.iter().map(|last| MacAddress([0, 0, 0x5e, 0, 1, *last])).collect(),
            mtu: 1500,
            up: true,
            ipv4_source: None,
            ipv6_source: None,
        };
        let interfaces = (0..).zip(interfaces).map(interface).collect();
        Fib::build(&Routing { interfaces, ..Routing::default() })
    }

    #[test]
    fn a_port_is_asked_for_the_addresses_of_all_its_interfaces_when_they_change() {
        let (mut macs, mut machine) = (ExtraMacs::new(2), Asked::default());
        macs.follow(&fib(&[(0, None, &[]), (1, None, &[])]), &mut machine);
        assert_eq!(machine.0, []);
        let with_vlan = fib(&[(0, None, &[7]), (0, Some(100), &[9, 7]), (1, None, &[])]);
        macs.follow(&with_vlan, &mut machine);
        macs.follow(&with_vlan, &mut machine);
        assert_eq!(machine.0, [(0, vec![7, 9])], "once");
        macs.follow(&fib(&[(0, None, &[]), (1, None, &[1])]), &mut machine);
        assert_eq!(machine.0[1..], [(0, vec![]), (1, vec![1])]);
    }
}
