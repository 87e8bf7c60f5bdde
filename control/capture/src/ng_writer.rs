//! pcapng files: packets with an identity, a queue, a verdict and a comment, on named interfaces that tell their losses.
//!
//! ```text
//! section | interface | interface ... | packet | packet ... | statistics of each interface
//! ```

use std::io::{self, Write};
use std::time::Duration;

use crate::link::Link;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const STATISTICS: u32 = 5;
const PACKET: u32 = 6;

const COMMENT: u16 = 1;
const SECTION_APPLICATION: u16 = 4;
const INTERFACE_NAME: u16 = 2;
const INTERFACE_TIME_RESOLUTION: u16 = 9;
const PACKET_DROPS: u16 = 4;
const PACKET_ID: u16 = 5;
const PACKET_QUEUE: u16 = 6;
const PACKET_VERDICT: u16 = 7;
const STATISTICS_RECEIVED: u16 = 4;
const STATISTICS_DROPPED: u16 = 5;

/// A verdict as the format knows them: those of the kernel's XDP, which readers show as words.
const VERDICT_XDP: u8 = 2;
/// `XDP_DROP`: the packet is gone.
pub const DROPPED: u64 = 1;
/// `XDP_PASS`: it is the kernel's.
pub const PASSED: u64 = 2;
/// `XDP_TX`: it was answered.
pub const ANSWERED: u64 = 3;
/// `XDP_REDIRECT`: it was sent on.
pub const REDIRECTED: u64 = 4;

/// An interface of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterfaceId(u32);

/// A packet to write.
#[derive(Debug, Clone, Copy)]
pub struct Record<'r> {
    /// Where it was seen.
    pub interface: InterfaceId,
    /// When, since the epoch.
    pub time: Duration,
    /// What is kept of it.
    pub bytes: &'r [u8],
    /// Bytes it had.
    pub length: u32,
    /// The same for the same packet on several interfaces.
    pub id: Option<u64>,
    /// The queue it was received from.
    pub queue: Option<u32>,
    /// Packets lost on this interface since the one before.
    pub lost: Option<u64>,
    /// One of [`DROPPED`], [`PASSED`], [`ANSWERED`], [`REDIRECTED`].
    pub verdict: Option<u64>,
    /// For people.
    pub comment: Option<&'r str>,
}

/// Writes one section.
pub struct PcapngWriter<W: Write> {
    file: W,
    interfaces: u32,
    block: Vec<u8>,
}

impl<W: Write> PcapngWriter<W> {
    /// Begins a file; `application` is who writes it.
    ///
    /// # Errors
    /// What writing says.
    pub fn new(file: W, application: &str) -> io::Result<Self> {
        let mut writer = Self { file, interfaces: 0, block: Vec::new() };
        writer.begin(SECTION);
        writer.u32(0x1a2b_3c4d);
        // Version 1.0, of unknown length.
        writer.u32(1);
        writer.block.extend(u64::MAX.to_le_bytes());
        writer.option(SECTION_APPLICATION, application.as_bytes());
        writer.end()?;
        Ok(writer)
    }

    /// Describes an interface.
    ///
    /// # Errors
    /// What writing says.
    pub fn interface(&mut self, name: &str, link: Link) -> io::Result<InterfaceId> {
        self.begin(INTERFACE);
        self.u32(u32::from(link.0));
        // No limit to the length.
        self.u32(0);
        self.option(INTERFACE_NAME, name.as_bytes());
        // Nanoseconds.
        self.option(INTERFACE_TIME_RESOLUTION, &[9]);
        self.end()?;
        self.interfaces += 1;
        Ok(InterfaceId(self.interfaces - 1))
    }

    /// Appends a packet.
    ///
    /// # Errors
    /// What writing says.
    pub fn packet(&mut self, record: &Record<'_>) -> io::Result<()> {
        let kept = u32::try_from(record.bytes.len()).unwrap_or(u32::MAX);
        self.begin(PACKET);
        self.u32(record.interface.0);
        self.time(record.time);
        self.u32(kept);
        self.u32(record.length.max(kept));
        self.block.extend_from_slice(record.bytes);
        self.pad();
        if let Some(comment) = record.comment {
            self.option(COMMENT, comment.as_bytes());
        }
        if let Some(lost) = record.lost {
            self.option(PACKET_DROPS, &lost.to_le_bytes());
        }
        if let Some(id) = record.id {
            self.option(PACKET_ID, &id.to_le_bytes());
        }
        if let Some(queue) = record.queue {
            self.option(PACKET_QUEUE, &queue.to_le_bytes());
        }
        if let Some(verdict) = record.verdict {
            self.option(PACKET_VERDICT, &[&[VERDICT_XDP][..], &verdict.to_le_bytes()].concat());
        }
        self.end()
    }

    /// Says how many packets an interface saw and how many of them are not in the file.
    ///
    /// # Errors
    /// What writing says.
    pub fn statistics(
        &mut self,
        interface: InterfaceId,
        time: Duration,
        received: u64,
        lost: u64,
    ) -> io::Result<()> {
        self.begin(STATISTICS);
        self.u32(interface.0);
        self.time(time);
        self.option(STATISTICS_RECEIVED, &received.to_le_bytes());
        self.option(STATISTICS_DROPPED, &lost.to_le_bytes());
        self.end()
    }

    /// Writes out what is still buffered.
    ///
    /// # Errors
    /// What writing says.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush()
    }

    /// Writes out what is still buffered, so that others can read it.
    ///
    /// # Errors
    /// What writing says.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn begin(&mut self, kind: u32) {
        self.block.clear();
        self.u32(kind);
        // The length, once it is known.
        self.u32(0);
    }

    fn end(&mut self) -> io::Result<()> {
        // The end of the options, and the length once more.
        self.u32(0);
        let length = u32::try_from(self.block.len() + 4).unwrap_or(u32::MAX);
        self.block[4..8].copy_from_slice(&length.to_le_bytes());
        self.u32(length);
        self.file.write_all(&self.block)
    }

    fn u32(&mut self, value: u32) {
        self.block.extend(value.to_le_bytes());
    }

    fn pad(&mut self) {
        self.block.resize(self.block.len().next_multiple_of(4), 0);
    }

    fn time(&mut self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let [a, b, c, d, rest @ ..] = nanoseconds.to_be_bytes();
        self.u32(u32::from_be_bytes([a, b, c, d]));
        self.u32(u32::from_be_bytes(rest));
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        let value = &value[..value.len().min(usize::from(u16::MAX))];
        self.block.extend(code.to_le_bytes());
        self.block.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
        self.block.extend_from_slice(value);
        self.pad();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut file = Vec::new();
        let mut writer = PcapngWriter::new(&mut file, "test").unwrap();
        let before = writer.interface("v4/before", Link::ETHERNET).unwrap();
        let after = writer.interface("v6/after", Link::RAW).unwrap();
        let time = Duration::new(1_767_326_640, 123_456_789);
        let record = Record {
            interface: before,
            time,
            bytes: &[1, 2, 3, 4, 5],
            length: 60,
            id: Some(7),
            queue: Some(1),
            lost: Some(2),
            verdict: Some(REDIRECTED),
            comment: Some("EAM 192.0.2.1/32 = 2001:db8::1/128 | translated"),
        };
        writer.packet(&record).unwrap();
        writer
            .packet(&Record { interface: after, bytes: &[0x60; 41], length: 41, comment: None, ..record })
            .unwrap();
        writer.statistics(before, time, 10, 2).unwrap();
        writer.finish().unwrap();
        let mut records = Vec::new();
        crate::pcapng::read(&file, &mut records).unwrap_or_else(|_| panic!("a sound file"));
        let seen: Vec<_> = records
            .iter()
            .map(|record| (record.link, record.timestamp, record.original, &file[record.range.clone()]))
            .collect();
        let [first, second] =
            [(Link::ETHERNET, time, 60, &[1, 2, 3, 4, 5][..]), (Link::RAW, time, 41, &[0x60; 41][..])];
        assert_eq!(seen, [first, second]);
    }
}
