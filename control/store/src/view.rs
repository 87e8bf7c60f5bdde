//! The table as a reader sees it: the store's rows and those of the configuration, in one order.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rusqlite::{OptionalExtension, params};

use crate::conflict::{Conflict, Family};
use crate::eam::{Eam, Key4, Key6, Row};
use crate::error::{Fault, StoreError};
use crate::owner::{Foreign, OwnedRow, Owner};
use crate::ranges::{self, RangeDigest};
use crate::store::Store;

const READ: &str = "read the mappings";

/// How many prefixes of each length there are: what is not there need not be looked for.
#[derive(Debug, Clone)]
pub(crate) struct Lengths {
    ipv4: [u32; 33],
    ipv6: [u32; 129],
    /// One bit for each length shorter than a host's that there is.
    nets4: u32,
    nets6: u128,
}

impl Default for Lengths {
    fn default() -> Self {
        Self { ipv4: [0; 33], ipv6: [0; 129], nets4: 0, nets6: 0 }
    }
}

impl Lengths {
    pub(crate) fn add(&mut self, eam: &Eam) {
        let (ipv4, ipv6) = (eam.ipv4().prefix_len(), eam.ipv6().prefix_len());
        self.ipv4[usize::from(ipv4)] += 1;
        self.ipv6[usize::from(ipv6)] += 1;
        self.nets4 |= 1_u32.checked_shl(ipv4.into()).unwrap_or(0);
        self.nets6 |= 1_u128.checked_shl(ipv6.into()).unwrap_or(0);
    }

    pub(crate) fn remove(&mut self, eam: &Eam) {
        let (ipv4, ipv6) = (eam.ipv4().prefix_len(), eam.ipv6().prefix_len());
        self.ipv4[usize::from(ipv4)] -= 1;
        self.ipv6[usize::from(ipv6)] -= 1;
        if self.ipv4[usize::from(ipv4)] == 0 {
            self.nets4 &= !1_u32.checked_shl(ipv4.into()).unwrap_or(0);
        }
        if self.ipv6[usize::from(ipv6)] == 0 {
            self.nets6 &= !1_u128.checked_shl(ipv6.into()).unwrap_or(0);
        }
    }

    /// Prefixes around `net`, longest first, of lengths that there are.
    pub(crate) fn around_ipv4(&self, net: Ipv4Net) -> impl Iterator<Item = Ipv4Net> + use<> {
        let mut shorter =
            self.nets4 & 1_u32.checked_shl(net.prefix_len().into()).unwrap_or(0).wrapping_sub(1);
        std::iter::from_fn(move || {
            let length = u8::try_from(shorter.checked_ilog2()?).ok()?;
            shorter &= !(1 << length);
            Some(Ipv4Net::new(net.network(), length).ok()?.trunc())
        })
    }

    /// The same for IPv6.
    pub(crate) fn around_ipv6(&self, net: Ipv6Net) -> impl Iterator<Item = Ipv6Net> + use<> {
        let mut shorter =
            self.nets6 & 1_u128.checked_shl(net.prefix_len().into()).unwrap_or(0).wrapping_sub(1);
        std::iter::from_fn(move || {
            let length = u8::try_from(shorter.checked_ilog2()?).ok()?;
            shorter &= !(1 << length);
            Some(Ipv6Net::new(net.network(), length).ok()?.trunc())
        })
    }
}

/// The table with a candidate's edits in it, or without.
pub(crate) struct View<'v> {
    pub(crate) store: &'v Store,
    pub(crate) candidate: Option<&'v crate::candidate::Candidate>,
}

impl View<'_> {
    /// The row of exactly this prefix.
    pub(crate) fn by_ipv4(&self, key: Key4) -> Result<Option<OwnedRow>, StoreError> {
        if let Some(after) = self.candidate.and_then(|candidate| candidate.staged(key)) {
            return Ok(after.cloned().map(of_store));
        }
        match self.store.row_by_ipv4(key)? {
            Some(row) => Ok(Some(of_store(row))),
            None => Ok(self.store.foreign.by_ipv4(key)),
        }
    }

    /// The row of exactly this prefix.
    pub(crate) fn by_ipv6(&self, key: Key6) -> Result<Option<OwnedRow>, StoreError> {
        if let Some(row) = self.candidate.and_then(|candidate| candidate.staged_ipv6(key)) {
            return Ok(Some(of_store(row.clone())));
        }
        let held = self.store.row_by_ipv6(key)?.filter(|row| !self.is_staged(row));
        Ok(held.map(of_store).or_else(|| self.store.foreign.by_ipv6(key)))
    }

    /// A row around or inside an IPv4 prefix, other than that of `except`.
    pub(crate) fn overlapping_ipv4(
        &self,
        net: Ipv4Net,
        except: Ipv4Net,
    ) -> Result<Option<OwnedRow>, StoreError> {
        let is_other = |row: &OwnedRow| row.row.eam().ipv4() != except;
        let lengths = [Some(&self.store.lengths), Some(self.store.foreign.lengths()), self.staged_lengths()];
        for lengths in lengths.into_iter().flatten() {
            for around in lengths.around_ipv4(net) {
                if let Some(row) = self.by_ipv4(around.into())?.filter(is_other) {
                    return Ok(Some(row));
                }
            }
        }
        if net.prefix_len() == 32 {
            return Ok(None);
        }
        let (first, last) = (Key4(Key4::from(net).0 + 1), Key4::last_inside(net));
        if let Some(row) =
            self.candidate.and_then(|candidate| candidate.first_between_ipv4(first, last, except))
        {
            return Ok(Some(of_store(row.clone())));
        }
        let mut found = self.store.foreign.between_ipv4(first, last).next();
        if found.is_none() {
            self.store.rows_between_ipv4(first, last, |row| {
                found = Some(row).filter(|row| !self.is_staged(row)).map(of_store).filter(is_other);
                found.is_none()
            })?;
        }
        Ok(found)
    }

    /// The same for the IPv6 prefix.
    pub(crate) fn overlapping_ipv6(
        &self,
        net: Ipv6Net,
        except: Ipv4Net,
    ) -> Result<Option<OwnedRow>, StoreError> {
        let is_other = |row: &OwnedRow| row.row.eam().ipv4() != except;
        let lengths = [Some(&self.store.lengths), Some(self.store.foreign.lengths()), self.staged_lengths()];
        for lengths in lengths.into_iter().flatten() {
            for around in lengths.around_ipv6(net) {
                if let Some(row) = self.by_ipv6(around.into())?.filter(is_other) {
                    return Ok(Some(row));
                }
            }
        }
        if net.prefix_len() == 128 {
            return Ok(None);
        }
        let mut first = Key6::from(net);
        first.0[16] += 1;
        let last = Key6::last_inside(net);
        if let Some(row) =
            self.candidate.and_then(|candidate| candidate.first_between_ipv6(first, last, except))
        {
            return Ok(Some(of_store(row.clone())));
        }
        let mut found = self.store.foreign.between_ipv6(first, last).next();
        if found.is_none() {
            self.store.rows_between_ipv6(first, last, |row| {
                found = Some(row).filter(|row| !self.is_staged(row)).map(of_store).filter(is_other);
                found.is_none()
            })?;
        }
        Ok(found)
    }

    fn is_staged(&self, row: &Row) -> bool {
        self.candidate.is_some_and(|candidate| candidate.staged(row.eam().ipv4().into()).is_some())
    }

    fn staged_lengths(&self) -> Option<&Lengths> {
        self.candidate.map(crate::candidate::Candidate::lengths)
    }
}

fn of_store(row: Row) -> OwnedRow {
    OwnedRow { row, owner: Owner::Store }
}

impl Store {
    /// The row of exactly this IPv4 prefix.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read.
    pub fn get_ipv4(&self, net: Ipv4Net) -> Result<Option<OwnedRow>, StoreError> {
        self.view().by_ipv4(net.into())
    }

    /// The row of exactly this IPv6 prefix.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read.
    pub fn get_ipv6(&self, net: Ipv6Net) -> Result<Option<OwnedRow>, StoreError> {
        self.view().by_ipv6(net.into())
    }

    /// The row of exactly this IPv4 prefix as it would be with a candidate in force.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read.
    pub fn get_ipv4_in(
        &self,
        candidate: &crate::candidate::Candidate,
        net: Ipv4Net,
    ) -> Result<Option<OwnedRow>, StoreError> {
        View { store: self, candidate: Some(candidate) }.by_ipv4(net.into())
    }

    /// The same for an IPv6 prefix.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read.
    pub fn get_ipv6_in(
        &self,
        candidate: &crate::candidate::Candidate,
        net: Ipv6Net,
    ) -> Result<Option<OwnedRow>, StoreError> {
        View { store: self, candidate: Some(candidate) }.by_ipv6(net.into())
    }

    /// All rows whose prefix covers an address, the one that translates it first.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read.
    pub fn covering(&self, address: IpAddr) -> Result<Vec<OwnedRow>, StoreError> {
        let (view, mut rows) = (self.view(), Vec::new());
        match IpNet::from(address) {
            IpNet::V4(host) => {
                for length in (0..=32).rev() {
                    let net = Ipv4Net::new(host.network(), length).map_or(host, |net| net.trunc());
                    rows.extend(view.by_ipv4(net.into())?);
                }
            }
            IpNet::V6(host) => {
                for length in (0..=128).rev() {
                    let net = Ipv6Net::new(host.network(), length).map_or(host, |net| net.trunc());
                    rows.extend(view.by_ipv6(net.into())?);
                }
            }
        }
        Ok(rows)
    }

    /// At most `limit` rows whose IPv4 prefix lies in `within`, in order, from the one after the prefix `after`. One
    /// page: the last row's prefix is the next page's `after`, whatever was changed meanwhile.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read.
    pub fn list(
        &self,
        within: Ipv4Net,
        after: Option<Ipv4Net>,
        limit: usize,
    ) -> Result<Vec<OwnedRow>, StoreError> {
        let first =
            after.map_or(Key4::from(within), |after| Key4::from(within).max(Key4(Key4::from(after).0 + 1)));
        let mut foreign = self.foreign.between_ipv4(first, Key4::last_inside(within)).take(limit).peekable();
        let mut rows = Vec::with_capacity(limit.min(1 << 16));
        let key = |row: &Row| Key4::from(row.eam().ipv4());
        if limit > 0 {
            self.rows_between_ipv4(first, Key4::last_inside(within), |row| {
                while let Some(earlier) =
                    foreign.next_if(|other| rows.len() < limit && key(&other.row) < key(&row))
                {
                    rows.push(earlier);
                }
                if rows.len() < limit {
                    rows.push(of_store(row));
                }
                rows.len() < limit
            })?;
        }
        let left = limit - rows.len();
        rows.extend(foreign.take(left));
        Ok(rows)
    }

    /// The first address of a range, from `from` on, that no row has. A row around it has it, but for 0.0.0.0/0, which stands for the
    /// IPv4 Internet (RFC 7757 appendix A.2). What comes before is remembered, so asking again does not read it again.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read.
    pub fn next_free(
        &mut self,
        range: &RangeInclusive<Ipv4Addr>,
        from: Ipv4Addr,
    ) -> Result<Option<Ipv4Addr>, StoreError> {
        let known = self.free_from.get(range).copied().unwrap_or(range.start().to_bits().into());
        let asked = u64::from(from.to_bits());
        let free = self.first_free(known.max(asked), *range.end())?;
        if asked <= known {
            self.free_from.insert(range.clone(), free);
        }
        Ok(u32::try_from(free).ok().map(Ipv4Addr::from_bits).filter(|free| range.contains(free)))
    }

    /// The first address from `free` on that no row has, as a number; one past `last` if there is none up to it.
    fn first_free(&self, mut free: u64, last: Ipv4Addr) -> Result<u64, StoreError> {
        let address = |free| u32::try_from(free).ok().map(Ipv4Addr::from_bits).filter(|free| *free <= last);
        let past = |row: &Row| u64::from(row.eam().ipv4().broadcast().to_bits()) + 1;
        // Rows that begin before it. One that is left has none around it that began there.
        while let Some(host) = address(free)
            && let Some(around) = self.around(host)?
        {
            free = past(&around);
        }
        let Some(first) = address(free) else { return Ok(free) };
        let (first, last) = (from_key(first), Key4::last_inside(last.into()));
        let occupy = |free: &mut u64, row: &Row| {
            let is_here = u64::from(row.eam().ipv4().network().to_bits()) <= *free;
            if is_here {
                *free = past(row).max(*free);
            }
            is_here
        };
        let mut foreign = self.foreign.between_ipv4(first, last).peekable();
        self.rows_between_ipv4(first, last, |row| {
            while let Some(earlier) = foreign.next_if(|other| other.row.eam().ipv4() < row.eam().ipv4()) {
                occupy(&mut free, &earlier.row);
            }
            occupy(&mut free, &row)
        })?;
        for other in foreign {
            if !occupy(&mut free, &other.row) {
                break;
            }
        }
        Ok(free)
    }

    /// The row of the longest prefix around an address, other than the whole Internet and the address itself.
    fn around(&self, host: Ipv4Addr) -> Result<Option<Row>, StoreError> {
        for lengths in [&self.lengths, self.foreign.lengths()] {
            for net in lengths.around_ipv4(host.into()).filter(|net| net.prefix_len() > 0) {
                if let Some(owned) = self.get_ipv4(net)? {
                    return Ok(Some(owned.row));
                }
            }
        }
        Ok(None)
    }

    /// Digests of all ranges of `length` bits that the IPv6 prefixes inside `within` begin in, in order. Reads the table.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read.
    pub fn ranges_ipv6(
        &self,
        within: Ipv6Net,
        length: u8,
    ) -> Result<Vec<(Ipv6Net, RangeDigest)>, StoreError> {
        let mut found = std::collections::BTreeMap::<Key6, RangeDigest>::new();
        let mut add = |row: &Row| {
            found.entry(ranges::around(row.eam().ipv6(), length).into()).or_default().add(&row.eam());
        };
        let (first, last) = (Key6::from(within), Key6::last_inside(within));
        self.rows_between_ipv6(first, last, |row| {
            add(&row);
            true
        })?;
        self.foreign.between_ipv6(first, last).for_each(|other| add(&other.row));
        Ok(found.into_iter().filter_map(|(key, range)| Some((key.net()?, range))).collect())
    }

    pub(crate) fn view(&self) -> View<'_> {
        View { store: self, candidate: None }
    }

    pub(crate) fn row_by_ipv4(&self, key: Key4) -> Result<Option<Row>, StoreError> {
        if self.head.revision.rows == 0 {
            return Ok(None);
        }
        if let Some(loaded) = &self.loaded {
            return Ok(loaded.by_ipv4.get(&key).cloned());
        }
        let read = || {
            let mut select =
                self.connection.prepare_cached("SELECT ipv4, ipv6, comment FROM eams WHERE ipv4 = ?1")?;
            select.query_row(params![key.0], |row| Ok(row_of(row))).optional()
        };
        self.checked(read())
    }

    pub(crate) fn row_by_ipv6(&self, key: Key6) -> Result<Option<Row>, StoreError> {
        if self.head.revision.rows == 0 {
            return Ok(None);
        }
        if let Some(loaded) = &self.loaded {
            return Ok(loaded.by_ipv6(key).cloned());
        }
        let read = || {
            let mut select =
                self.connection.prepare_cached("SELECT ipv4, ipv6, comment FROM eams WHERE ipv6 = ?1")?;
            select.query_row(params![key.0], |row| Ok(row_of(row))).optional()
        };
        self.checked(read())
    }

    fn checked(&self, read: rusqlite::Result<Option<Option<Row>>>) -> Result<Option<Row>, StoreError> {
        match read.map_err(self.failed(READ))? {
            Some(None) => Err(broken_row(&self.path)),
            Some(row) => Ok(row),
            None => Ok(None),
        }
    }

    /// Calls `each` with the rows from `first` to `last` by IPv4 prefix, until it has enough.
    pub(crate) fn rows_between_ipv4(
        &self,
        first: Key4,
        last: Key4,
        each: impl FnMut(Row) -> bool,
    ) -> Result<(), StoreError> {
        self.rows(
            "SELECT ipv4, ipv6, comment FROM eams WHERE ipv4 BETWEEN ?1 AND ?2 ORDER BY ipv4",
            params![first.0, last.0],
            each,
        )
    }

    /// The same by IPv6 prefix.
    pub(crate) fn rows_between_ipv6(
        &self,
        first: Key6,
        last: Key6,
        each: impl FnMut(Row) -> bool,
    ) -> Result<(), StoreError> {
        self.rows(
            "SELECT ipv4, ipv6, comment FROM eams WHERE ipv6 BETWEEN ?1 AND ?2 ORDER BY ipv6",
            params![first.0, last.0],
            each,
        )
    }

    /// Calls `each` with every row of the file, by IPv4 prefix.
    pub(crate) fn each_row(&self, mut each: impl FnMut(Row)) -> Result<(), StoreError> {
        self.rows("SELECT ipv4, ipv6, comment FROM eams ORDER BY ipv4", [], |row| {
            each(row);
            true
        })
    }

    fn rows(
        &self,
        select: &str,
        params: impl rusqlite::Params,
        mut each: impl FnMut(Row) -> bool,
    ) -> Result<(), StoreError> {
        let mut select = self.connection.prepare_cached(select).map_err(self.failed(READ))?;
        let mut rows = select.query(params).map_err(self.failed(READ))?;
        while let Some(row) = rows.next().map_err(self.failed(READ))? {
            if !each(row_of(row).ok_or_else(|| broken_row(&self.path))?) {
                break;
            }
        }
        Ok(())
    }

    /// Rows of a configuration that cannot be beside the store's. The smaller side is looked up in the other.
    pub(crate) fn foreign_conflicts(
        &self,
        foreign: &Foreign,
        limit: usize,
    ) -> Result<Vec<Conflict>, StoreError> {
        let mut conflicts = Vec::new();
        let mut meet = |row: Row, other: Option<OwnedRow>, family| {
            if let Some(other) = other {
                conflicts.push(Conflict::Duplicate { eam: row.eam(), family, other: Box::new(other) });
            }
            conflicts.len() < limit
        };
        if (foreign.len() as u64) < self.head.revision.rows {
            for eam in foreign.eams() {
                let held = self.row_by_ipv4(eam.ipv4().into())?;
                let other = held.clone().and_then(|row| foreign.by_ipv4(row.eam().ipv4().into()));
                let goes_on = held.is_none_or(|row| meet(row, other, Family::Ipv4));
                let held = self.row_by_ipv6(eam.ipv6().into())?;
                let other = held.clone().and_then(|row| foreign.by_ipv6(row.eam().ipv6().into()));
                if !goes_on || held.is_some_and(|row| !meet(row, other, Family::Ipv6)) {
                    break;
                }
            }
        } else if !foreign.is_empty() {
            self.rows("SELECT ipv4, ipv6, comment FROM eams ORDER BY ipv4", [], |row| {
                let other = foreign.by_ipv4(row.eam().ipv4().into());
                meet(row.clone(), other, Family::Ipv4)
                    && meet(row.clone(), foreign.by_ipv6(row.eam().ipv6().into()), Family::Ipv6)
            })?;
        }
        Ok(conflicts)
    }
}

fn from_key(address: Ipv4Addr) -> Key4 {
    Key4(i64::from(address.to_bits()) << 8)
}

pub(crate) fn broken_row(path: &std::path::Path) -> StoreError {
    StoreError::new(path, READ, Fault::Damaged, "a row is no mapping")
}

/// None when its cells are no mapping.
pub(crate) fn row_of(row: &rusqlite::Row<'_>) -> Option<Row> {
    let ipv4 = Key4(row.get(0).ok()?).net()?;
    let ipv6 = Key6(row.get(1).ok()?).net()?;
    let comment = row.get_ref(2).ok()?.as_str_or_null().ok()?;
    Row::new(Eam::new(ipv4, ipv6).ok()?, comment).ok()
}
