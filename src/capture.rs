//! Capture files in, capture file out.

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Seek};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter, RawPcapPacket};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_file::{DataLink, PcapError, TsResolution};

/// Why a capture cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CaptureError {
    /// Open, create, write.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The file does not begin as a capture does.
    #[error("{}: not a capture: give a pcap or pcapng file, such as `tcpdump -w` writes", path.display())]
    NotACapture {
        /// The file.
        path: PathBuf,
    },
    /// The file ends too early.
    #[error(
        "{}: the file ends in the middle of packet {packet}: was it copied while it was being written? Give a \
         complete pcap or pcapng file", path.display()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// 0-based index of the packet that is not all there.
        packet: usize,
    },
    /// The file contradicts itself.
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
    let io = |error| CaptureError::Io { path: path.to_owned(), error };
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    let mut magic = [0; 4];
    let is_pcapng = match file.read_exact(&mut magic) {
        Ok(()) => magic == [0x0a, 0x0d, 0x0d, 0x0a],
        Err(_) => false,
    };
    file.rewind().map_err(io)?;
    if is_pcapng { read_pcapng(path, file) } else { read_pcap(path, file) }
}

fn read_pcap(path: &Path, file: impl Read) -> Result<Vec<Captured>, CaptureError> {
    let mut reader = PcapReader::new(file).map_err(|error| no_start(path, error))?;
    let PcapHeader { datalink, ts_resolution, .. } = reader.header();
    let link = link_layer(path, datalink)?;
    let mut packets = Vec::new();
    // Raw: the checked form refuses packets longer than the snapshot length, and thereby every packet that was cut.
    while let Some(packet) = reader.next_raw_packet() {
        let packet = packet.map_err(|error| unreadable(path, packets.len(), error))?;
        packets.push(captured(
            path,
            packets.len(),
            pcap_timestamp(&packet, ts_resolution),
            link,
            &packet.data,
            packet.orig_len,
        )?);
    }
    Ok(packets)
}

fn pcap_timestamp(packet: &RawPcapPacket<'_>, resolution: TsResolution) -> Duration {
    let fraction = u64::from(packet.ts_frac);
    let fraction = match resolution {
        TsResolution::MicroSecond => Duration::from_micros(fraction),
        TsResolution::NanoSecond => Duration::from_nanos(fraction),
    };
    Duration::from_secs(u64::from(packet.ts_sec)) + fraction
}

fn read_pcapng(path: &Path, file: impl Read) -> Result<Vec<Captured>, CaptureError> {
    let mut reader = PcapNgReader::new(file).map_err(|error| no_start(path, error))?;
    let mut packets = Vec::new();
    let mut interfaces = Vec::new();
    while let Some(block) = reader.next_block() {
        match block.map_err(|error| unreadable(path, packets.len(), error))? {
            Block::SectionHeader(_) => interfaces.clear(),
            Block::InterfaceDescription(interface) => {
                interfaces.push((interface.linktype, units_per_second(&interface)));
            }
            Block::EnhancedPacket(packet) => {
                let interface =
                    usize::try_from(packet.interface_id).ok().and_then(|id| interfaces.get(id).copied());
                let (link, units) = interface.unwrap_or((DataLink::NULL, MICROSECONDS));
                let link = link_layer(path, link)?;
                packets.push(captured(
                    path,
                    packets.len(),
                    in_units(packet.timestamp, units),
                    link,
                    &packet.data,
                    packet.original_len,
                )?);
            }
            Block::SimplePacket(packet) => {
                let link = interfaces.first().map_or(DataLink::NULL, |(link, _)| *link);
                let link = link_layer(path, link)?;
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

/// Units of a pcapng timestamp where the interface does not say.
const MICROSECONDS: u64 = 1_000_000;

/// The units an interface counts time in: a power of ten, or of two when the highest bit of the option is set.
fn units_per_second(interface: &InterfaceDescriptionBlock<'_>) -> u64 {
    let resolution = interface.options.iter().find_map(|option| match option {
        InterfaceDescriptionOption::IfTsResol(resolution) => Some(*resolution),
        _ => None,
    });
    let units = match resolution {
        None => Some(MICROSECONDS),
        Some(power) if power & 0x80 == 0 => 10_u64.checked_pow(u32::from(power)),
        Some(power) => 2_u64.checked_pow(u32::from(power & 0x7f)),
    };
    units.unwrap_or(u64::MAX)
}

/// `pcap-file` takes the number in the file for nanoseconds, whatever the interface says.
fn in_units(timestamp: Duration, units: u64) -> Duration {
    let number = u64::try_from(timestamp.as_nanos()).unwrap_or(u64::MAX);
    let fraction = u128::from(number % units) * 1_000_000_000 / u128::from(units);
    let fraction = u64::try_from(fraction).expect("less than a second");
    Duration::from_secs(number / units) + Duration::from_nanos(fraction)
}

/// The file's own header cannot be read.
fn no_start(path: &Path, error: PcapError) -> CaptureError {
    let path = path.to_owned();
    match error {
        PcapError::IoError(error) if error.kind() != ErrorKind::UnexpectedEof => {
            CaptureError::Io { path, error }
        }
        _ => CaptureError::NotACapture { path },
    }
}

fn unreadable(path: &Path, packet: usize, error: PcapError) -> CaptureError {
    let path = path.to_owned();
    match error {
        PcapError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            CaptureError::Truncated { path, packet }
        }
        PcapError::IoError(error) => CaptureError::Io { path, error },
        error => CaptureError::Damaged { path, packet, error },
    }
}

fn link_layer(path: &Path, link: DataLink) -> Result<LinkLayer, CaptureError> {
    match link {
        DataLink::RAW | DataLink::IPV4 | DataLink::IPV6 => Ok(LinkLayer::Raw),
        DataLink::ETHERNET => Ok(LinkLayer::Ethernet),
        link => Err(CaptureError::LinkType { path: path.to_owned(), link }),
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
    // A simple packet block does not tell its data from the padding behind.
    let data = &data[..data.len().min(original)];
    if data.len() < original {
        return Err(CaptureError::Cut { path: path.to_owned(), packet, captured: data.len(), original });
    }
    Ok(Captured { timestamp, link, bytes: data.to_vec() })
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
        let file = File::create(path).map_err(|error| CaptureError::Io { path: path.to_owned(), error })?;
        let header = PcapHeader { datalink: DataLink::RAW, ..PcapHeader::default() };
        let pcap = PcapWriter::with_header(BufWriter::new(file), header)
            .map_err(|error| not_written(path, error))?;
        Ok(Self { path: path.to_owned(), pcap, written: 0 })
    }

    /// Appends a packet; returns its index.
    pub(crate) fn write(&mut self, timestamp: Duration, packet: &[u8]) -> Result<usize, CaptureError> {
        let index = self.written;
        let length = u32::try_from(packet.len()).unwrap_or(u32::MAX);
        // The format has 32 bits for the seconds.
        let timestamp = timestamp.min(Duration::from_secs(u64::from(u32::MAX)));
        self.pcap
            .write_packet(&PcapPacket::new(timestamp, length, packet))
            .map_err(|error| not_written(&self.path, error))?;
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

fn not_written(path: &Path, error: PcapError) -> CaptureError {
    let error = match error {
        PcapError::IoError(error) => error,
        error => std::io::Error::other(error),
    };
    CaptureError::Io { path: path.to_owned(), error }
}
