//! Free service addresses.

use std::net::Ipv4Addr;

use control_api::Pool;
use ipnet::Ipv4Net;

use super::table::Table;

/// The pools' free addresses, lowest first. A pool's first and last address come when nothing else is left: some systems still
/// take them for something else.
pub(super) fn free(table: &Table, pools: &[Ipv4Net], taken: impl Fn(Ipv4Addr) -> bool) -> Option<Ipv4Addr> {
    let is_edge = |pool: &Ipv4Net, address| {
        pool.prefix_len() < 31 && (address == pool.network() || address == pool.broadcast())
    };
    let mut gaps = pools.iter().flat_map(|pool| Gaps::new(table, *pool).map(move |address| (pool, address)));
    let inner = gaps.find(|(pool, address)| !is_edge(pool, *address) && !taken(*address));
    let edge = || {
        pools
            .iter()
            .flat_map(|pool| [pool.network(), pool.broadcast()])
            .find(|address| table.around4((*address).into()).is_empty() && !taken(*address))
    };
    inner.map(|(_, address)| address).or_else(edge)
}

/// How full a pool is.
pub(super) fn pool(table: &Table, pool: Ipv4Net) -> Pool {
    let addresses = 1_u64 << (32 - pool.prefix_len());
    let used = used(table, pool);
    Pool {
        prefix: pool.to_string(),
        addresses,
        used,
        free: addresses - used,
        next_free: free(table, &[pool], |_| false).map(|address| address.to_string()),
    }
}

fn used(table: &Table, pool: Ipv4Net) -> u64 {
    if !table.around4(pool).is_empty() {
        return 1 << (32 - pool.prefix_len());
    }
    let mut used = 0;
    let mut next = u64::from(pool.network().to_bits());
    for (net, _) in table.inside4(pool) {
        let (first, last) = (u64::from(net.network().to_bits()), u64::from(net.broadcast().to_bits()));
        // A prefix inside one that was counted adds nothing.
        used += (last + 1).saturating_sub(first.max(next));
        next = next.max(last + 1);
    }
    used
}

/// The addresses of a pool under no mapping.
struct Gaps<'t> {
    taken: Box<dyn Iterator<Item = Ipv4Net> + 't>,
    upcoming: Option<Ipv4Net>,
    next: u64,
    last: u64,
}

impl<'t> Gaps<'t> {
    fn new(table: &'t Table, pool: Ipv4Net) -> Self {
        let mut taken: Box<dyn Iterator<Item = Ipv4Net> + 't> =
            Box::new(table.inside4(pool).map(|(net, _)| net));
        let upcoming = taken.next();
        let last = u64::from(pool.broadcast().to_bits());
        let is_covered = !table.around4(pool).is_empty();
        let next = if is_covered { last + 1 } else { u64::from(pool.network().to_bits()) };
        Self { taken, upcoming, next, last }
    }
}

impl Iterator for Gaps<'_> {
    type Item = Ipv4Addr;

    fn next(&mut self) -> Option<Ipv4Addr> {
        while let Some(net) = self.upcoming {
            if self.next < u64::from(net.network().to_bits()) {
                break;
            }
            self.next = self.next.max(u64::from(net.broadcast().to_bits()) + 1);
            self.upcoming = self.taken.next();
        }
        let address = (self.next <= self.last).then_some(self.next)?;
        self.next += 1;
        u32::try_from(address).ok().map(Ipv4Addr::from_bits)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Row;
    use super::*;

    fn table(prefixes: &[&str]) -> Table {
        let rows: Vec<Row> = prefixes
            .iter()
            .zip(1..)
            .map(|(ipv4, number)| Row {
                ipv4: ipv4.parse().unwrap(),
                ipv6: format!("2001:db8:{number:x}::/64").parse().unwrap(),
                comment: None,
            })
            .collect();
        Table::new([].into(), Vec::new(), &rows).unwrap_or_default()
    }

    #[test]
    fn the_next_free_address_is_the_lowest_under_no_mapping() {
        let pools = ["192.0.2.0/29".parse().unwrap(), "198.51.100.4/31".parse().unwrap()];
        let next =
            |prefixes: &[&str]| free(&table(prefixes), &pools, |_| false).map(|address| address.to_string());
        assert_eq!(next(&[]).as_deref(), Some("192.0.2.1"));
        assert_eq!(next(&["192.0.2.1/32", "192.0.2.2/31"]).as_deref(), Some("192.0.2.4"));
        assert_eq!(next(&["192.0.2.0/30", "192.0.2.4/31", "192.0.2.6/32"]).as_deref(), Some("198.51.100.4"));
        let but_edges = ["192.0.2.1/32", "192.0.2.2/31", "192.0.2.4/31", "192.0.2.6/32", "198.51.100.4/31"];
        assert_eq!(next(&but_edges).as_deref(), Some("192.0.2.0"), "edges come last");
        assert_eq!(next(&["192.0.2.0/24", "198.51.0.0/16"]), None);
    }

    #[test]
    fn used_and_free_add_up_whatever_is_nested() {
        let net = "192.0.2.0/28".parse().unwrap();
        for (prefixes, used) in [
            (&[][..], 0),
            (&["192.0.2.0/30", "192.0.2.1/32", "192.0.2.15/32"], 5),
            (&["192.0.0.0/16"], 16),
            (&["192.0.2.0/28"], 16),
            (&["10.0.0.1/32"], 0),
        ] {
            let pool = pool(&table(prefixes), net);
            assert_eq!((pool.used, pool.used + pool.free), (used, 16), "{prefixes:?}");
        }
    }
}
