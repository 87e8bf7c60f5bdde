//! Every mapping with its owner and note, by both of its prefixes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Bound;
use std::sync::Arc;

use control_api::{Entry, STORE};
use ipnet::{Ipv4Net, Ipv6Net};

use super::chunks::ChunkMap;
use super::{Delta, Row};

/// Who has the say about a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// It is changed through the socket.
    Store,
    /// It is written in that file, an index into [`Table::files`], at that line.
    File { file: u16, line: u32 },
}

/// A mapping of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRow {
    /// The mapping.
    pub row: Row,
    /// The file, an index into the list of their names.
    pub file: u16,
    /// Its line there.
    pub line: u32,
}

#[derive(Debug, Clone)]
pub(super) struct Owned {
    pub(super) ipv6: Ipv6Net,
    pub(super) owner: Owner,
    pub(super) comment: Option<Arc<str>>,
}

/// An IPv4 prefix as a number that sorts as prefixes do: address, then length.
type Key4 = u64;
type Key6 = (u128, u8);

/// The mappings of one moment. Copies share memory.
#[derive(Clone, Default)]
pub(super) struct Table {
    by_ipv4: ChunkMap<Key4, Owned>,
    by_ipv6: ChunkMap<Key6, Key4>,
    /// How many prefixes of each length there are.
    lengths4: Lengths<33>,
    lengths6: Lengths<129>,
    files: Arc<[String]>,
}

#[derive(Clone)]
struct Lengths<const N: usize>([u32; N]);

impl<const N: usize> Default for Lengths<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

/// Two mappings that cannot be together: one of their prefixes is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// The one in the store.
    pub stored: Row,
    /// The one of a file.
    pub file: FileRow,
}

impl Table {
    /// The mappings of files, and those of the store.
    ///
    /// # Errors
    /// Those that share a prefix.
    pub(super) fn new(
        files: Arc<[String]>,
        file_rows: Vec<FileRow>,
        stored: &[Row],
    ) -> Result<Self, Vec<Clash>> {
        let of_files = file_rows.into_iter().map(|FileRow { row, file, line }| {
            (
                key4(row.ipv4),
                Owned { ipv6: row.ipv6, owner: Owner::File { file, line }, comment: row.comment },
            )
        });
        let mut rows: Vec<(Key4, Owned)> = of_files.chain(stored.iter().map(owned)).collect();
        // Stable: what a file has stands before what the store has.
        rows.sort_by_key(|row| row.0);
        let mut six: Vec<(Key6, Key4)> = rows.iter().map(|(key, row)| (key6(row.ipv6), *key)).collect();
        six.sort_unstable();
        let clashes = clashes(&rows, &six);
        if !clashes.is_empty() {
            return Err(clashes);
        }
        let (mut lengths4, mut lengths6) = (Lengths::default(), Lengths::default());
        for (key, row) in &rows {
            lengths4.0[usize::from(ipv4(*key).prefix_len())] += 1;
            lengths6.0[usize::from(row.ipv6.prefix_len())] += 1;
        }
        let (by_ipv4, by_ipv6) = (ChunkMap::from_sorted(rows), ChunkMap::from_sorted(six));
        Ok(Self { by_ipv4, by_ipv6, lengths4, lengths6, files })
    }

    pub(super) fn len(&self) -> usize {
        self.by_ipv4.len()
    }

    /// The mappings after a change of the store's.
    pub(super) fn apply(&mut self, delta: &Delta) {
        if delta.len() > self.len() / 8 {
            return self.rebuild(delta);
        }
        for row in delta.removed.iter().chain(delta.changed.iter().map(|(from, _)| from)) {
            self.remove(row);
        }
        for row in delta.added.iter().chain(delta.changed.iter().map(|(_, to)| to)) {
            self.insert(row);
        }
    }

    /// The same for changes so many that a new table is less work.
    fn rebuild(&mut self, delta: &Delta) {
        let mut gone: Vec<Key4> = delta.removed.iter().map(|row| key4(row.ipv4)).collect();
        gone.extend(delta.changed.iter().map(|(from, _)| key4(from.ipv4)));
        gone.sort_unstable();
        let kept = self.by_ipv4.iter().filter(|(key, _)| gone.binary_search(key).is_err());
        let mut rows: Vec<_> = kept.map(|(key, row)| (key, row.clone())).collect();
        rows.extend(delta.added.iter().chain(delta.changed.iter().map(|(_, to)| to)).map(owned));
        rows.sort_by_key(|row| row.0);
        let mut six: Vec<_> = rows.iter().map(|(key, row)| (key6(row.ipv6), *key)).collect();
        six.sort_unstable();
        (self.lengths4, self.lengths6) = (Lengths::default(), Lengths::default());
        for (key, row) in &rows {
            self.lengths4.0[usize::from(ipv4(*key).prefix_len())] += 1;
            self.lengths6.0[usize::from(row.ipv6.prefix_len())] += 1;
        }
        (self.by_ipv4, self.by_ipv6) = (ChunkMap::from_sorted(rows), ChunkMap::from_sorted(six));
    }

    fn insert(&mut self, row: &Row) {
        let (key, owned) = owned(row);
        self.by_ipv6.insert(key6(row.ipv6), key);
        self.by_ipv4.insert(key, owned);
        self.lengths4.0[usize::from(row.ipv4.prefix_len())] += 1;
        self.lengths6.0[usize::from(row.ipv6.prefix_len())] += 1;
    }

    fn remove(&mut self, row: &Row) {
        if self.by_ipv4.remove(key4(row.ipv4)).is_some() {
            self.by_ipv6.remove(key6(row.ipv6));
            self.lengths4.0[usize::from(row.ipv4.prefix_len())] -= 1;
            self.lengths6.0[usize::from(row.ipv6.prefix_len())] -= 1;
        }
    }

    pub(super) fn get4(&self, net: Ipv4Net) -> Option<&Owned> {
        self.by_ipv4.get(key4(net))
    }

    pub(super) fn get6(&self, net: Ipv6Net) -> Option<(Ipv4Net, &Owned)> {
        let key = *self.by_ipv6.get(key6(net))?;
        Some((ipv4(key), self.by_ipv4.get(key)?))
    }

    /// Every mapping, ordered by IPv4 prefix.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Ipv4Net, &Owned)> {
        self.by_ipv4.iter().map(|(key, row)| (ipv4(key), row))
    }

    /// The store's mappings.
    pub(super) fn stored(&self) -> impl Iterator<Item = Row> {
        self.iter().filter(|(_, row)| row.owner == Owner::Store).map(|(ipv4, row)| row.row(ipv4))
    }

    /// At most so many mappings whose IPv4 prefix comes after the given one.
    pub(super) fn after(&self, last: Option<Ipv4Net>, count: usize) -> Vec<(Ipv4Net, Owned)> {
        let from = last.map_or(Bound::Unbounded, |last| Bound::Excluded(key4(last)));
        self.by_ipv4.from(from).take(count).map(|(key, row)| (ipv4(key), row.clone())).collect()
    }

    /// The mappings whose IPv4 prefix is around `net`, longest first, `net` itself included.
    pub(super) fn around4(&self, net: Ipv4Net) -> Vec<(Ipv4Net, &Owned)> {
        let outer = (0..=net.prefix_len()).rev().filter(|length| self.lengths4.0[usize::from(*length)] > 0);
        outer
            .filter_map(|length| {
                let outer = Ipv4Net::new(net.network(), length).ok()?.trunc();
                Some((outer, self.get4(outer)?))
            })
            .collect()
    }

    /// The mappings whose IPv6 prefix is around `net`, longest first, `net` itself included.
    pub(super) fn around6(&self, net: Ipv6Net) -> Vec<(Ipv4Net, &Owned)> {
        let outer = (0..=net.prefix_len()).rev().filter(|length| self.lengths6.0[usize::from(*length)] > 0);
        outer.filter_map(|length| self.get6(Ipv6Net::new(net.network(), length).ok()?.trunc())).collect()
    }

    /// The mappings whose IPv4 prefix is inside `net`, `net` itself excluded.
    pub(super) fn inside4(&self, net: Ipv4Net) -> impl Iterator<Item = (Ipv4Net, &Owned)> {
        let last = key4(Ipv4Net::from(net.broadcast()));
        let longer = net.prefix_len() < 32;
        (self.by_ipv4.from(Bound::Excluded(key4(net))))
            .take_while(move |(key, _)| longer && *key <= last)
            .map(|(key, row)| (ipv4(key), row))
    }

    /// The mappings whose IPv6 prefix is inside `net`, `net` itself excluded.
    pub(super) fn inside6(&self, net: Ipv6Net) -> impl Iterator<Item = (Ipv4Net, &Owned)> {
        let last = key6(Ipv6Net::from(net.broadcast()));
        let longer = net.prefix_len() < 128;
        (self.by_ipv6.from(Bound::Excluded(key6(net))))
            .take_while(move |(key, _)| longer && *key <= last)
            .filter_map(|(_, key)| Some((ipv4(*key), self.by_ipv4.get(*key)?)))
    }

    /// The mappings that cover an address, longest first.
    pub(super) fn covering(&self, address: IpAddr) -> Vec<(Ipv4Net, &Owned)> {
        match address {
            IpAddr::V4(address) => self.around4(address.into()),
            IpAddr::V6(address) => self.around6(address.into()),
        }
    }

    /// How messages name an owner: the store, or a file and its line.
    pub(super) fn owner(&self, owner: Owner) -> (&str, Option<u32>) {
        match owner {
            Owner::Store => (STORE, None),
            Owner::File { file, line } => {
                (self.files.get(usize::from(file)).map_or("a file", String::as_str), Some(line))
            }
        }
    }

    pub(super) fn entry(&self, ipv4: Ipv4Net, row: &Owned) -> Entry {
        let (owner, line) = self.owner(row.owner);
        Entry {
            ipv4: ipv4.to_string(),
            ipv6: row.ipv6.to_string(),
            owner: owner.to_owned(),
            comment: row.comment.as_deref().unwrap_or_default().to_owned(),
            line,
        }
    }
}

impl Owned {
    pub(super) fn row(&self, ipv4: Ipv4Net) -> Row {
        Row { ipv4, ipv6: self.ipv6, comment: self.comment.clone() }
    }
}

fn owned(row: &Row) -> (Key4, Owned) {
    (key4(row.ipv4), Owned { ipv6: row.ipv6, owner: Owner::Store, comment: row.comment.clone() })
}

fn clashes(rows: &[(Key4, Owned)], six: &[(Key6, Key4)]) -> Vec<Clash> {
    let file_row = |key: Key4, row: &Owned| match row.owner {
        Owner::File { file, line } => Some(FileRow { row: row.row(ipv4(key)), file, line }),
        Owner::Store => None,
    };
    let pair = |left: (Key4, &Owned), right: (Key4, &Owned)| {
        let (file, stored) = match file_row(left.0, left.1) {
            Some(file) => (file, right),
            None => (file_row(right.0, right.1)?, left),
        };
        (stored.1.owner == Owner::Store).then(|| Clash { stored: stored.1.row(ipv4(stored.0)), file })
    };
    let same4 = rows.windows(2).filter(|pair| pair[0].0 == pair[1].0);
    let mut found: Vec<Clash> =
        same4.filter_map(|rows| pair((rows[0].0, &rows[0].1), (rows[1].0, &rows[1].1))).collect();
    let row_of = |key: Key4, wanted: Key6| {
        let at = rows.partition_point(|row| row.0 < key);
        rows[at..].iter().take_while(|row| row.0 == key).find(|row| key6(row.1.ipv6) == wanted)
    };
    let same6 = six.windows(2).filter(|pair| pair[0].0 == pair[1].0 && pair[0].1 != pair[1].1);
    found.extend(same6.filter_map(|keys| {
        let (left, right) = (row_of(keys[0].1, keys[0].0)?, row_of(keys[1].1, keys[1].0)?);
        pair((left.0, &left.1), (right.0, &right.1))
    }));
    found
}

fn key4(net: Ipv4Net) -> Key4 {
    u64::from(net.network().to_bits()) << 8 | u64::from(net.prefix_len())
}

fn ipv4(key: Key4) -> Ipv4Net {
    let [_, _, _, a, b, c, d, length] = key.to_be_bytes();
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

fn key6(net: Ipv6Net) -> Key6 {
    (Ipv6Addr::to_bits(net.network()), net.prefix_len())
}
