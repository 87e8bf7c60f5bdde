//! A capture file, opened, unpacked and searched.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use shown::Shown;

use crate::link::Link;
use crate::pcap::{self, Broken};
use crate::pcapng;
use crate::record::{Packet, Record};

/// The name of standard input and standard output.
pub const STANDARD: &str = "-";

const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Why a capture cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// Open, read, create, write.
    #[error("{}: {error}", name(path))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file does not begin as a capture does.
    #[error("{}: not a capture: give a pcap or pcapng file, such as `tcpdump -w` writes", name(path))]
    NotACapture {
        /// The file.
        path: PathBuf,
    },
    /// The file ends too early.
    #[error(
        "{}: the file ends in the middle of packet {packet}: was it copied while it was being written? Give a \
         complete pcap or pcapng file",
        name(path)
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// 0-based index of the packet that is not all there.
        packet: usize,
    },
    /// The file contradicts itself.
    #[error("{}: packet {packet}: {}; give a complete pcap or pcapng file", name(path), Shown(reason))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// 0-based index of the first packet that could not be read.
        packet: usize,
        /// What is wrong.
        reason: String,
    },
    /// Packets, and none of a link type we know.
    #[error(
        "{}: link type {link} is not supported: capture on an interface with Ethernet (1), raw IP (101), Linux cooked \
         (113, 276, `tcpdump -i any`) or loopback (0, 108) headers",
        name(path)
    )]
    LinkType {
        /// The file.
        path: PathBuf,
        /// Its link type.
        link: Link,
    },
}

/// How messages call a file.
pub(crate) fn name(path: &Path) -> String {
    if path.as_os_str() == STANDARD { "standard input".to_owned() } else { Shown(path.display()).to_string() }
}

/// A capture file in memory.
#[derive(Debug)]
pub struct Capture {
    file: Vec<u8>,
    records: Vec<Record>,
}

impl Capture {
    /// Reads a file; `-` is standard input.
    ///
    /// # Errors
    /// [`CaptureError`]: what stands in the way of reading all of it.
    pub fn read(path: &Path) -> Result<Self, CaptureError> {
        let io = |error| CaptureError::Io { path: path.to_owned(), error };
        let mut file = Vec::new();
        if path.as_os_str() == STANDARD {
            io::stdin().lock().read_to_end(&mut file).map_err(io)?;
        } else {
            File::open(path).and_then(|mut open| open.read_to_end(&mut file)).map_err(io)?;
        }
        Self::parse(path, file)
    }

    /// As [`read`](Self::read), from bytes; `path` names them in messages.
    ///
    /// # Errors
    /// [`CaptureError`]: what is wrong with them.
    pub fn parse(path: &Path, mut file: Vec<u8>) -> Result<Self, CaptureError> {
        if file.starts_with(&GZIP) {
            file = unpack(path, &file)?;
        }
        let mut records = Vec::new();
        let read = if file.starts_with(&pcapng::SECTION) { pcapng::read } else { pcap::read };
        let path = path.to_owned();
        match read(&file, &mut records) {
            Ok(()) => {}
            Err(Broken::NoStart) => return Err(CaptureError::NotACapture { path }),
            Err(Broken::Truncated) => return Err(CaptureError::Truncated { path, packet: records.len() }),
            Err(Broken::Damaged(reason)) => {
                return Err(CaptureError::Damaged { path, packet: records.len(), reason });
            }
        }
        match records.first() {
            Some(first) if records.iter().all(|record| !record.link.is_known()) => {
                Err(CaptureError::LinkType { path, link: first.link })
            }
            _ => Ok(Self { file, records }),
        }
    }

    /// The packets, in order.
    pub fn packets(&self) -> impl ExactSizeIterator<Item = Packet<'_>> {
        self.records.iter().map(|record| Packet {
            timestamp: record.timestamp,
            link: record.link,
            bytes: &self.file[record.range.clone()],
            original: record.original,
        })
    }
}

/// Unpacks gzip. What ends too early is read as far as it goes: the capture inside tells which packet is not there.
fn unpack(path: &Path, packed: &[u8]) -> Result<Vec<u8>, CaptureError> {
    let mut file = Vec::new();
    match MultiGzDecoder::new(packed).read_to_end(&mut file) {
        Ok(_) => Ok(file),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            let mut records = Vec::new();
            let read = if file.starts_with(&pcapng::SECTION) { pcapng::read } else { pcap::read };
            let _ = read(&file, &mut records);
            Err(CaptureError::Truncated { path: path.to_owned(), packet: records.len() })
        }
        Err(error) => Err(CaptureError::Io { path: path.to_owned(), error }),
    }
}
