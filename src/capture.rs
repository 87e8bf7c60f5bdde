//! Capture files in, capture file out.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_file::{DataLink, PcapError};

/// Why a capture cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CaptureError {
    /// Open, create.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The file is no capture, or is damaged.
    #[error("{}: packet {packet}: {error}; give a complete pcap or pcapng file", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// 0-based index of the first packet that could not be read.
        packet: usize,
        /// What is wrong.
        error: PcapError,
    },
    /// A link type that is neither raw IP nor Ethernet.
    #[error("{}: link type {link:?} is not supported: capture with link type raw IP (101) or Ethernet (1)", path.display())]
    LinkType {
        /// The file.
        path: PathBuf,
        /// Its link type.
        link: DataLink,
    },
    /// A packet was captured only in part.
    #[error(
        "{}: packet {packet} was captured only in part ({captured} of {original} bytes): capture with a snapshot \
         length of 65535 (tcpdump -s 0)", path.display()
    )]
    Cut {
        /// The file.
        path: PathBuf,
        /// 0-based index.
        packet: usize,
        /// Bytes in the file.
        captured: usize,
        /// Bytes on the wire.
        original: usize,
    },
}

/// What precedes the IP header of each packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkLayer {
    /// Nothing.
    Raw,
    /// An Ethernet header.
    Ethernet,
}

/// One captured packet.
#[derive(Debug, Clone)]
pub(crate) struct Captured {
    /// Since the epoch.
    pub(crate) timestamp: Duration,
    /// What its bytes begin with.
    pub(crate) link: LinkLayer,
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
}

/// Reads all packets of a pcap or pcapng file.
pub(crate) fn read(path: &Path) -> Result<Vec<Captured>, CaptureError> {
    let io = |error| CaptureError::Io {
        path: path.to_owned(),
        error,
    };
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    let mut magic = [0; 4];
    let is_pcapng = match file.read_exact(&mut magic) {
        Ok(()) => magic == [0x0a, 0x0d, 0x0d, 0x0a],
        Err(_) => false,
    };
    file.rewind().map_err(io)?;
    if is_pcapng {
        read_pcapng(path, file)
    } else {
        read_pcap(path, file)
    }
}

fn read_pcap(path: &Path, file: impl Read) -> Result<Vec<Captured>, CaptureError> {
    let damaged = |packet, error| CaptureError::Damaged {
        path: path.to_owned(),
        packet,
        error,
    };
    let mut reader = PcapReader::new(file).map_err(|error| damaged(0, error))?;
    let link = link_layer(path, reader.header().datalink)?;
    let mut packets = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let packet = packet.map_err(|error| damaged(packets.len(), error))?;
        packets.push(captured(
            path,
            packets.len(),
            packet.timestamp,
            link,
            &packet.data,
            packet.orig_len,
        )?);
    }
    Ok(packets)
}

fn read_pcapng(path: &Path, file: impl Read) -> Result<Vec<Captured>, CaptureError> {
    let damaged = |packet, error| CaptureError::Damaged {
        path: path.to_owned(),
        packet,
        error,
    };
    let mut reader = PcapNgReader::new(file).map_err(|error| damaged(0, error))?;
    let mut packets = Vec::new();
    let mut links = Vec::new();
    while let Some(block) = reader.next_block() {
        match block.map_err(|error| damaged(packets.len(), error))? {
            Block::SectionHeader(_) => links.clear(),
            Block::InterfaceDescription(interface) => links.push(interface.linktype),
            Block::EnhancedPacket(packet) => {
                let link = usize::try_from(packet.interface_id)
                    .ok()
                    .and_then(|id| links.get(id).copied());
                let link = link_layer(path, link.unwrap_or(DataLink::NULL))?;
                packets.push(captured(
                    path,
                    packets.len(),
                    packet.timestamp,
                    link,
                    &packet.data,
                    packet.original_len,
                )?);
            }
            Block::SimplePacket(packet) => {
                let link = link_layer(path, links.first().copied().unwrap_or(DataLink::NULL))?;
                packets.push(captured(
                    path,
                    packets.len(),
                    Duration::ZERO,
                    link,
                    &packet.data,
                    packet.original_len,
                )?);
            }
            _ => {}
        }
    }
    Ok(packets)
}

fn link_layer(path: &Path, link: DataLink) -> Result<LinkLayer, CaptureError> {
    match link {
        DataLink::RAW | DataLink::IPV4 | DataLink::IPV6 => Ok(LinkLayer::Raw),
        DataLink::ETHERNET => Ok(LinkLayer::Ethernet),
        link => Err(CaptureError::LinkType {
            path: path.to_owned(),
            link,
        }),
    }
}

fn captured(
    path: &Path,
    packet: usize,
    timestamp: Duration,
    link: LinkLayer,
    data: &[u8],
    original: u32,
) -> Result<Captured, CaptureError> {
    let original = usize::try_from(original).unwrap_or(usize::MAX);
    if data.len() < original {
        return Err(CaptureError::Cut {
            path: path.to_owned(),
            packet,
            captured: data.len(),
            original,
        });
    }
    Ok(Captured {
        timestamp,
        link,
        bytes: data.to_vec(),
    })
}

/// Writes raw IP packets.
pub(crate) struct Writer {
    path: PathBuf,
    pcap: PcapWriter<BufWriter<File>>,
    written: usize,
}

impl Writer {
    /// Creates (or overwrites) the file.
    pub(crate) fn create(path: &Path) -> Result<Self, CaptureError> {
        let file = File::create(path).map_err(|error| CaptureError::Io {
            path: path.to_owned(),
            error,
        })?;
        let header = PcapHeader {
            datalink: DataLink::RAW,
            ..PcapHeader::default()
        };
        let pcap =
            PcapWriter::with_header(BufWriter::new(file), header).map_err(|error| CaptureError::Damaged {
                path: path.to_owned(),
                packet: 0,
                error,
            })?;
        Ok(Self {
            path: path.to_owned(),
            pcap,
            written: 0,
        })
    }

    /// Appends a packet; returns its index.
    pub(crate) fn write(&mut self, timestamp: Duration, packet: &[u8]) -> Result<usize, CaptureError> {
        let index = self.written;
        let length = u32::try_from(packet.len()).unwrap_or(u32::MAX);
        self.pcap
            .write_packet(&PcapPacket::new(timestamp, length, packet))
            .map_err(|error| CaptureError::Damaged {
                path: self.path.clone(),
                packet: index,
                error,
            })?;
        self.written += 1;
        Ok(index)
    }

    /// Writes out what is still buffered.
    pub(crate) fn finish(self) -> Result<(), CaptureError> {
        let path = self.path;
        let mut file = self.pcap.into_writer();
        std::io::Write::flush(&mut file).map_err(|error| CaptureError::Io { path, error })
    }
}
