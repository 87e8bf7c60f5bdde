//! What a table hashes to, whatever the order of its rows.
//!
//! The digest of a table is the sum, modulo 2^256, of one BLAKE3 hash for each mapping, and of one more for each row that
//! has a note. So a change costs its own hashes, whatever the size of the table; tables without notes have the digest of
//! their mappings alone; and equal digests mean equal tables, but for an accident nobody will live to see. It guards
//! against damage and drift, not against a forger: whoever can write to the store can write its digests too.

use std::fmt;
use std::str::FromStr;

use crate::eam::{Eam, Key4, Key6, Row};

/// A sum of hashes, 256 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Digest([u64; 4]);

/// Sixty-four hexadecimal digits were expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a digest has 64 hexadecimal digits")]
pub struct DigestError;

impl Digest {
    /// Of no row.
    pub const EMPTY: Self = Self([0; 4]);

    /// Of one mapping, its note left out.
    #[must_use]
    pub fn of_eam(eam: &Eam) -> Self {
        Self::hash(&bytes(eam))
    }

    /// Of one row.
    #[must_use]
    pub fn of_row(row: &Row) -> Self {
        let mut digest = Self::of_eam(&row.eam());
        if let Some(comment) = row.comment() {
            let mut noted = bytes(&row.eam()).to_vec();
            noted.extend_from_slice(comment.as_bytes());
            digest.add(Self::hash(&noted));
        }
        digest
    }

    /// Of all rows.
    pub fn of_rows<'r>(rows: impl IntoIterator<Item = &'r Row>) -> Self {
        let mut sum = Self::EMPTY;
        rows.into_iter().for_each(|row| sum.add(Self::of_row(row)));
        sum
    }

    /// Takes something in.
    pub fn add(&mut self, other: Self) {
        let mut carry = false;
        for (word, other) in self.0.iter_mut().zip(other.0) {
            let (sum, first) = word.overflowing_add(other);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            (*word, carry) = (sum, first | second);
        }
    }

    /// Takes something out again.
    pub fn subtract(&mut self, other: Self) {
        let mut borrow = false;
        for (word, other) in self.0.iter_mut().zip(other.0) {
            let (difference, first) = word.overflowing_sub(other);
            let (difference, second) = difference.overflowing_sub(u64::from(borrow));
            (*word, borrow) = (difference, first | second);
        }
    }

    /// Least significant byte first.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes
            .chunks_exact_mut(8)
            .zip(self.0)
            .for_each(|(bytes, word)| bytes.copy_from_slice(&word.to_le_bytes()));
        bytes
    }

    /// The reverse of [`Self::to_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        Self(words)
    }

    fn hash(bytes: &[u8]) -> Self {
        Self::from_bytes(*blake3::hash(bytes).as_bytes())
    }
}

/// IPv4 address and length, IPv6 address and length: 22 bytes, network order.
fn bytes(eam: &Eam) -> [u8; 22] {
    let mut bytes = [0; 22];
    bytes[..5].copy_from_slice(&Key4::from(eam.ipv4()).0.to_be_bytes()[3..]);
    bytes[5..].copy_from_slice(&Key6::from(eam.ipv6()).0);
    bytes
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(DigestError);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            let pair = std::str::from_utf8(pair).map_err(|_| DigestError)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| DigestError)?;
        }
        Ok(Self::from_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(number: u8, comment: Option<&str>) -> Row {
        let eam = Eam::new(
            format!("192.0.2.{number}/32").parse().unwrap(),
            format!("2001:db8::{number:x}/128").parse().unwrap(),
        );
        Row::new(eam.unwrap(), comment).unwrap()
    }

    #[test]
    fn every_part_of_a_row_counts() {
        let base = Digest::of_row(&row(1, None));
        assert_ne!(base, Digest::of_row(&row(2, None)));
        assert_ne!(base, Digest::of_row(&row(1, Some("x"))));
        assert_ne!(Digest::of_row(&row(1, Some("y"))), Digest::of_row(&row(1, Some("x"))));
        assert_eq!(base, Digest::of_eam(&row(1, None).eam()), "a table without notes hashes to its mappings");
    }

    /// Another release, another machine: the same table has the same digest.
    #[test]
    fn the_digest_of_a_table_is_fixed_for_ever() {
        let digest = Digest::of_rows(&[row(1, None), row(2, Some("web"))]);
        assert_eq!(digest.to_string(), "0f050e46707c1da9f1478a942c7c522f7d62f6625ef02b17a24e0fa355f72e54");
    }

    proptest! {
        #[test]
        fn sums_are_those_of_256_bit_numbers(left: [u8; 32], right: [u8; 32]) {
            let mut sum = Digest::from_bytes(left);
            sum.add(Digest::from_bytes(right));
            let mut carry = 0;
            for (at, byte) in sum.to_bytes().into_iter().enumerate() {
                let expected = u16::from(left[at]) + u16::from(right[at]) + carry;
                prop_assert_eq!(u16::from(byte), expected & 0xff);
                carry = expected >> 8;
            }
            sum.subtract(Digest::from_bytes(right));
            prop_assert_eq!(sum.to_bytes(), left);
            prop_assert_eq!(sum.to_string().parse(), Ok(sum));
        }
    }
}
