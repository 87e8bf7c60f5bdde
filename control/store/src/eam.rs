//! Explicit address mappings as the store keeps them: two prefixes and the operator's note.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{Ipv4Net, Ipv6Net};

/// One mapping between an IPv4 and an IPv6 prefix (RFC 7757), without host bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Eam {
    ipv4: Ipv4Net,
    ipv6: Ipv6Net,
}

/// A mapping with its note: one row of the table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Row {
    eam: Eam,
    /// Shared: a row is copied from the candidate to the change that is recorded.
    comment: Option<Arc<str>>,
}

/// Why two prefixes and a note are no row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// An address that is not the first of its prefix.
    #[error("EAM {ipv4} {ipv6}: bits behind the prefix length are set: write {ipv4_masked} and {ipv6_masked}",
            ipv4_masked = .ipv4.trunc(), ipv6_masked = .ipv6.trunc())]
    HostBits {
        /// As given.
        ipv4: Ipv4Net,
        /// As given.
        ipv6: Ipv6Net,
    },
    /// RFC 7757 section 3.2.
    #[error("EAM {ipv4} {ipv6}: the IPv4 suffix is longer than the IPv6 suffix (RFC 7757 section 3.2): \
             shorten the IPv6 prefix to at most /{longest}", longest = 96 + .ipv4.prefix_len())]
    SuffixTooLong {
        /// As given.
        ipv4: Ipv4Net,
        /// As given.
        ipv6: Ipv6Net,
    },
    /// A note that would not fit on one line of a list.
    #[error("EAM {eam}: {}", comment_fault(*.length))]
    Comment {
        /// Whose note it is.
        eam: Eam,
        /// Of the note, in bytes.
        length: usize,
    },
}

/// What is wrong with a note of this length that is not kept.
fn comment_fault(length: usize) -> String {
    let max = Row::MAX_COMMENT;
    if length > max {
        format!("the comment has {length} bytes: shorten it to {max}")
    } else {
        "the comment has a line break or another control character: write it on one line".to_owned()
    }
}

impl Eam {
    /// Puts two prefixes together.
    ///
    /// # Errors
    /// [`RowError::HostBits`] and [`RowError::SuffixTooLong`].
    pub fn new(ipv4: Ipv4Net, ipv6: Ipv6Net) -> Result<Self, RowError> {
        if ipv4 != ipv4.trunc() || ipv6 != ipv6.trunc() {
            return Err(RowError::HostBits { ipv4, ipv6 });
        }
        if 32 - ipv4.prefix_len() > 128 - ipv6.prefix_len() {
            return Err(RowError::SuffixTooLong { ipv4, ipv6 });
        }
        Ok(Self { ipv4, ipv6 })
    }

    /// The IPv4 prefix. It names the row: no two have the same.
    #[must_use]
    pub const fn ipv4(&self) -> Ipv4Net {
        self.ipv4
    }

    /// The IPv6 prefix. No two rows have the same either.
    #[must_use]
    pub const fn ipv6(&self) -> Ipv6Net {
        self.ipv6
    }
}

impl fmt::Display for Eam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.ipv4, self.ipv6)
    }
}

impl Row {
    /// Longest note, in bytes of UTF-8.
    pub const MAX_COMMENT: usize = 1024;

    /// A mapping with a note; an empty note is none.
    ///
    /// # Errors
    /// [`RowError::Comment`].
    pub fn new(eam: Eam, comment: Option<&str>) -> Result<Self, RowError> {
        let comment = comment.filter(|comment| !comment.is_empty());
        if let Some(text) = comment
            && (text.len() > Self::MAX_COMMENT || text.chars().any(char::is_control))
        {
            return Err(RowError::Comment { eam, length: text.len() });
        }
        Ok(Self { eam, comment: comment.map(Arc::from) })
    }

    /// The mapping.
    #[must_use]
    pub const fn eam(&self) -> Eam {
        self.eam
    }

    /// The operator's note.
    #[must_use]
    pub fn comment(&self) -> Option<&str> {
        self.comment.as_deref()
    }
}

impl From<Eam> for Row {
    fn from(eam: Eam) -> Self {
        Self { eam, comment: None }
    }
}

/// An IPv4 prefix as one number that sorts by address, then by length: what names a row in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key4(pub(crate) i64);

/// An IPv6 prefix as bytes that sort by address, then by length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key6(pub(crate) [u8; 17]);

impl Key4 {
    pub(crate) fn net(self) -> Option<Ipv4Net> {
        let [0, 0, 0, a, b, c, d, length] = self.0.to_be_bytes() else { return None };
        Ipv4Net::new(Ipv4Addr::new(a, b, c, d), length).ok()
    }

    /// The last key of any prefix inside `net`.
    pub(crate) fn last_inside(net: Ipv4Net) -> Self {
        Self(i64::from(net.broadcast().to_bits()) << 8 | 32)
    }
}

impl From<Ipv4Net> for Key4 {
    fn from(net: Ipv4Net) -> Self {
        Self(i64::from(net.network().to_bits()) << 8 | i64::from(net.prefix_len()))
    }
}

impl Key6 {
    pub(crate) fn net(self) -> Option<Ipv6Net> {
        let (address, length) = self.0.split_first_chunk::<16>()?;
        Ipv6Net::new(Ipv6Addr::from(*address), *length.first()?).ok()
    }

    /// The last key of any prefix inside `net`.
    pub(crate) fn last_inside(net: Ipv6Net) -> Self {
        Self::of(net.broadcast(), 128)
    }

    fn of(address: Ipv6Addr, length: u8) -> Self {
        let mut key = [length; 17];
        key[..16].copy_from_slice(&address.octets());
        Self(key)
    }
}

impl From<Ipv6Net> for Key6 {
    fn from(net: Ipv6Net) -> Self {
        Self::of(net.network(), net.prefix_len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn eam(ipv4: &str, ipv6: &str) -> Result<Eam, RowError> {
        Eam::new(ipv4.parse().unwrap(), ipv6.parse().unwrap())
    }

    #[test]
    fn what_is_no_mapping_is_refused_with_the_remedy() {
        let host_bits = eam("192.0.2.1/24", "2001:db8::/120").unwrap_err().to_string();
        assert!(host_bits.contains("write 192.0.2.0/24 and 2001:db8::/120"), "{host_bits}");
        let suffix = eam("192.0.2.0/24", "2001:db8::/121").unwrap_err().to_string();
        assert!(suffix.contains("at most /120"), "{suffix}");
        let good = eam("192.0.2.0/24", "2001:db8::/120").unwrap();
        assert!(Row::new(good, Some("two\nlines")).is_err());
        assert!(Row::new(good, Some(&"x".repeat(1025))).is_err());
        assert_eq!(Row::new(good, Some("")).unwrap().comment(), None);
        assert_eq!(Row::new(good, Some("web, übrigens")).unwrap().comment(), Some("web, übrigens"));
    }

    proptest! {
        #[test]
        fn keys_sort_as_prefixes_and_lead_back(
            left: u32, right: u32, left6: u128, right6: u128, lengths in (0_u8..=32, 0_u8..=32),
        ) {
            let nets = [(left, lengths.0), (right, lengths.1)]
                .map(|(bits, length)| Ipv4Net::new(Ipv4Addr::from_bits(bits), length).unwrap().trunc());
            let [a, b] = nets.map(Key4::from);
            prop_assert_eq!((a.net(), b.net()), (Some(nets[0]), Some(nets[1])));
            let order = |net: Ipv4Net| (net.network(), net.prefix_len());
            prop_assert_eq!(a.cmp(&b), order(nets[0]).cmp(&order(nets[1])));
            let nets = [(left6, lengths.0 * 4), (right6, lengths.1 * 4)]
                .map(|(bits, length)| Ipv6Net::new(Ipv6Addr::from_bits(bits), length).unwrap().trunc());
            let [a, b] = nets.map(Key6::from);
            prop_assert_eq!((a.net(), b.net()), (Some(nets[0]), Some(nets[1])));
            let order = |net: Ipv6Net| (net.network(), net.prefix_len());
            prop_assert_eq!(a.cmp(&b), order(nets[0]).cmp(&order(nets[1])));
        }
    }
}
