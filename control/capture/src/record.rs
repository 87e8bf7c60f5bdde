//! One captured packet.

use std::ops::Range;
use std::time::Duration;

use crate::link::{Content, Link};

/// Where a packet lies in its file.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) timestamp: Duration,
    pub(crate) link: Link,
    pub(crate) range: Range<usize>,
    /// Bytes on the wire, those of a frame check sequence left out.
    pub(crate) original: usize,
}

/// How a record's bytes are to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interface {
    pub(crate) link: Link,
    /// Bytes of frame check sequence behind each packet.
    pub(crate) fcs: usize,
}

impl Record {
    /// A record of `captured` bytes at `start`, of which `original` were on the wire. Without its frame check sequence, of
    /// which a snapshot length may have cut any part.
    pub(crate) fn new(
        interface: Interface,
        timestamp: Duration,
        start: usize,
        captured: usize,
        original: usize,
    ) -> Self {
        let original = original.max(captured).saturating_sub(interface.fcs);
        let range = start..start + captured.min(original);
        Self { timestamp, link: interface.link, range, original }
    }
}

/// One captured packet.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'f> {
    /// Since the epoch.
    pub timestamp: Duration,
    /// What its bytes begin with.
    pub link: Link,
    /// What was captured.
    pub bytes: &'f [u8],
    /// How many bytes there were on the wire.
    pub original: usize,
}

impl<'f> Packet<'f> {
    /// Whether a snapshot length has cut it.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.bytes.len() < self.original
    }

    /// What is in it.
    #[must_use]
    pub fn content(&self) -> Content<'f> {
        self.link.content(self.bytes)
    }
}
