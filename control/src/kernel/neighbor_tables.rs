//! How many neighbours the kernel takes, and whether that is enough.
//!
//! The limits are one for all network namespaces and can be changed in the first one only (`/proc/sys` shows them nowhere
//! else), so they are read over netlink, which tells them everywhere.

use std::sync::{Arc, Weak};
use std::time::Duration;

use dataplane::table::translation::Translation;
use ipnet::Ipv6Net;

use super::complaints::Topic;

/// How often the tables are looked at.
pub(super) const LOOK: Duration = Duration::from_secs(5);

/// One of the kernel's two neighbour tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NeighborTable {
    pub(super) ipv6: bool,
    /// gc_thresh2: from here on, entries that were not confirmed in the last seconds are thrown out.
    pub(super) soft: u32,
    /// gc_thresh3: no entry is taken beyond.
    pub(super) hard: u32,
    /// Entries of all namespaces.
    pub(super) entries: u32,
}

impl NeighborTable {
    /// What to say when it is full, or no longer so. `refused`: the kernel refused an entry since the last look.
    pub(super) fn full(&self, refused: bool, told: bool) -> (Topic, Option<String>) {
        let nearly = |tenths: u64| 10 * u64::from(self.entries) >= tenths * u64::from(self.hard);
        // Told at nine tenths, taken back below seven: a table at its limit shall not fill the log.
        let full = refused && nearly(5) || nearly(9) || told && nearly(7);
        let text = || {
            format!(
                "the kernel's {} neighbour table holds {} of {} entries, hosts beyond that get no packets: {}",
                self.family(),
                self.entries,
                self.hard,
                self.remedy(u64::from(self.entries.max(self.hard)))
            )
        };
        (Topic::FullNeighborTable { ipv6: self.ipv6 }, full.then(text))
    }

    /// What to say about so many hosts with an EAM on connected prefixes.
    pub(super) fn small(&self, mapped: usize) -> Option<String> {
        let mapped = mapped as u64;
        (mapped > u64::from(self.soft)).then(|| {
            format!(
                "{mapped} hosts with an EAM are on connected prefixes, the kernel's {} neighbour table takes {} and throws \
                 out what is idle from {} on: {}",
                self.family(),
                self.hard,
                self.soft,
                self.remedy(mapped)
            )
        })
    }

    fn family(&self) -> &'static str {
        if self.ipv6 { "IPv6" } else { "IPv4" }
    }

    fn remedy(&self, hosts: u64) -> String {
        let family = if self.ipv6 { "ipv6" } else { "ipv4" };
        let soft = (2 * hosts).next_power_of_two();
        format!(
            "set net.{family}.neigh.default.gc_thresh2={soft} and net.{family}.neigh.default.gc_thresh3={} in the first \
             network namespace",
            2 * soft
        )
    }
}

/// Hosts with an EAM of their own inside any of these prefixes. Takes some milliseconds for a million.
pub(super) fn mapped_inside(translation: &Translation, prefixes: &[Ipv6Net]) -> usize {
    let inside = |host: &Ipv6Net| {
        host.prefix_len() == 128 && prefixes.iter().any(|prefix| prefix.contains(&host.network()))
    };
    translation.eams.iter().filter(|eam| inside(&eam.ipv6)).count()
}

/// What [`mapped_inside`] was last asked about.
#[derive(Default)]
pub(super) struct Asked {
    translation: Weak<Translation>,
    prefixes: Vec<Ipv6Net>,
}

impl Asked {
    /// Whether the answer may be another one by now; remembers the question.
    pub(super) fn is_news(&mut self, translation: &Arc<Translation>, prefixes: &[Ipv6Net]) -> bool {
        // Weak, so that no table lives on for it.
        let translation = Arc::downgrade(translation);
        if Weak::ptr_eq(&self.translation, &translation) && self.prefixes == prefixes {
            return false;
        }
        *self = Self { translation, prefixes: prefixes.to_vec() };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::testing::translation;

    const DEFAULT: NeighborTable = NeighborTable { ipv6: true, soft: 512, hard: 1024, entries: 0 };

    #[test]
    fn too_small_a_table_is_told_with_the_numbers_to_set() {
        assert_eq!(DEFAULT.small(512), None);
        let text = DEFAULT.small(2000).unwrap();
        assert!(text.starts_with("2000 hosts with an EAM"), "{text}");
        assert!(text.contains("net.ipv6.neigh.default.gc_thresh2=4096 and"), "{text}");
        assert!(text.contains("net.ipv6.neigh.default.gc_thresh3=8192 in the first"), "{text}");
    }

    #[test]
    fn a_full_table_is_told_of_until_there_is_room_again() {
        let full =
            |entries, refused, told| NeighborTable { entries, ..DEFAULT }.full(refused, told).1.is_some();
        assert!(full(1024, true, false));
        assert!(full(950, false, false), "before hosts go dark");
        assert!(!full(800, false, false));
        assert!(full(800, false, true), "it does not flap");
        assert!(!full(700, false, true));
        assert!(full(600, true, false), "other namespaces may have let go meanwhile");
        assert!(!full(10, true, false), "refused for another reason");
    }

    #[test]
    fn hosts_are_counted_where_they_are_connected() {
        let translation = translation(&[
            ("192.0.2.1/32", "2001:db8:1::1/128"),
            ("192.0.2.2/32", "2001:db8:1::2/128"),
            ("192.0.2.3/32", "2001:db8:2::3/128"),
            ("192.0.2.16/28", "2001:db8:1::f0/124"),
        ]);
        let prefixes = ["2001:db8:1::/64".parse().unwrap(), "2001:db8:3::/64".parse().unwrap()];
        assert_eq!(mapped_inside(&translation, &prefixes), 2);
        let (mut asked, translation) = (Asked::default(), Arc::new(translation));
        assert!(asked.is_news(&translation, &prefixes));
        assert!(!asked.is_news(&translation, &prefixes));
        assert!(asked.is_news(&translation, &[]));
    }
}
