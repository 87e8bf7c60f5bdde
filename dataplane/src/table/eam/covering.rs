//! Which mappings cover an address: the one a look-up takes, and those it hides. For people; a look-up needs only the first.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::{Eam, EamTable};

impl EamTable {
    /// The mappings that cover an IPv4 address, longest first: [`EamTable::lookup_ipv4`] answers by the first of them.
    #[must_use]
    pub fn covering_ipv4(&self, address: Ipv4Addr) -> Vec<Eam> {
        let at = |length| Ipv4Net::new_assert(address, length).trunc();
        (0..=32).rev().filter_map(|length| self.with_ipv4(at(length))).collect()
    }

    /// The mappings that cover an IPv6 address, longest first: [`EamTable::lookup_ipv6`] answers by the first of them.
    #[must_use]
    pub fn covering_ipv6(&self, address: Ipv6Addr) -> Vec<Eam> {
        let at = |length| Ipv6Net::new_assert(address, length).trunc();
        (0..=128).rev().filter_map(|length| self.with_ipv6(at(length))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_one_answers_and_the_others_are_hidden() {
        let eam = |ipv4: &str, ipv6: &str| Eam { ipv4: ipv4.parse().unwrap(), ipv6: ipv6.parse().unwrap() };
        let all = [
            eam("192.0.2.1/32", "2001:db8:1::1/128"),
            eam("192.0.2.0/24", "2001:db8:2::/120"),
            eam("0.0.0.0/0", "64:ff9b::/96"),
            eam("192.0.2.9/32", "2001:db8:2::/124"),
        ];
        let table = EamTable::build(&all).unwrap();
        let covering = |address: &str| table.covering_ipv4(address.parse().unwrap());
        assert_eq!(covering("192.0.2.1"), [all[0], all[1], all[2]]);
        assert_eq!(covering("192.0.2.9"), [all[3], all[1], all[2]]);
        assert_eq!(covering("198.51.100.1"), [all[2]]);
        for address in ["192.0.2.1", "192.0.2.9", "192.0.2.77", "198.51.100.1"] {
            let address = address.parse().unwrap();
            let first = table.covering_ipv4(address)[0];
            let mapped = table.lookup_ipv4(address).unwrap().address;
            assert!(first.ipv6.contains(&mapped), "{address} is {mapped}, not by {first:?}");
        }
        let covering = |address: &str| table.covering_ipv6(address.parse().unwrap());
        assert_eq!(covering("2001:db8:2::5"), [all[3], all[1]]);
        assert_eq!(covering("2001:db8:1::1"), [all[0]]);
        assert_eq!(covering("2001:db8:9::1"), []);
    }
}
