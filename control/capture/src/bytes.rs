//! Numbers in either byte order.

/// The byte order of a file or section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Little,
    Big,
}

impl Order {
    pub(crate) fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let bytes = bytes.get(at..)?.first_chunk()?;
        Some(match self {
            Self::Little => u16::from_le_bytes(*bytes),
            Self::Big => u16::from_be_bytes(*bytes),
        })
    }

    pub(crate) fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = bytes.get(at..)?.first_chunk()?;
        Some(match self {
            Self::Little => u32::from_le_bytes(*bytes),
            Self::Big => u32::from_be_bytes(*bytes),
        })
    }

    /// A 32-bit length or index.
    pub(crate) fn size(self, bytes: &[u8], at: usize) -> Option<usize> {
        self.u32(bytes, at).and_then(|number| usize::try_from(number).ok())
    }
}

/// What some tools leave behind the last record: nothing but zeros.
pub(crate) fn is_padding(rest: &[u8]) -> bool {
    rest.iter().all(|byte| *byte == 0)
}
