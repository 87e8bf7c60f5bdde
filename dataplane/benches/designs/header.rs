//! What a writer of headers must do to be compared with others: Ethernet and IPv6 in front of a translated payload.

use std::net::Ipv6Addr;

use dataplane::io::BURST;

/// Bytes of both headers.
pub(crate) const LENGTH: usize = 54;
/// An mbuf's headroom and the 20 bytes by which IPv6's header is longer: where the new frame begins.
const START: usize = 128 - 20;

/// What is known of one packet when its headers are written.
#[derive(Clone, Copy)]
pub(crate) struct Input {
    /// The link-layer header, and two zero bytes.
    pub(crate) link: [u8; 16],
    /// See `wire::ipv6::first_word`.
    pub(crate) first: u64,
    pub(crate) source: Ipv6Addr,
    pub(crate) destination: Ipv6Addr,
    /// Which mapping the destination is of: a share of them all, in 2^-32.
    pub(crate) mapping: u32,
}

/// Memory as large and as aligned as an mbuf's.
#[derive(Clone)]
#[repr(C, align(64))]
pub(crate) struct Frame([u8; 2304]);

impl Frame {
    /// Dirty memory.
    pub(crate) const DIRTY: Self = Self([0xee; 2304]);

    /// The place of the headers: as in an mbuf it begins in one cache line and ends in the next.
    #[inline(always)]
    pub(crate) fn headers(&mut self) -> &mut [u8; LENGTH] {
        self.0[START..].first_chunk_mut().unwrap()
    }

    /// Whether nothing was written, or all of it made dirty again.
    pub(crate) fn is_dirty(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0xee)
    }
}

/// A way to write the headers of a burst.
pub(crate) trait Write {
    fn burst(&self, inputs: &[Input; BURST], frames: &mut [Frame; BURST]);
}
