//! pcap: a header of 24 bytes, then records.
//!
//! ```text
//! header  | magic (4) | version (2+2) | 0 (4) | 0 (4) | snapshot length (4) | FCS (4 bits), link type (16 bits of 32) |
//! record  | seconds (4) | fraction (4) | captured (4) | original (4) | packet ...
//! ```

use std::time::Duration;

use crate::bytes::{Order, is_padding};
use crate::link::Link;
use crate::record::{Interface, Record};

const HEADER: usize = 24;
/// No packet is longer; a larger number is no length.
const LONGEST: usize = 1 << 26;
/// "The FCS length is valid", in the field of the link type.
const FCS_PRESENT: u32 = 1 << 26;

/// Why the records of a file end before the file does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The file does not begin as a capture does.
    NoStart,
    /// In the middle of a record.
    Truncated,
    /// A contradiction.
    Damaged(String),
}

/// A kind of pcap file.
struct Kind {
    order: Order,
    /// Nanoseconds of a unit of the fraction.
    unit: u32,
    record_header: usize,
}

fn kind(magic: [u8; 4]) -> Option<Kind> {
    let (order, number) = match magic {
        [0xa1, ..] => (Order::Big, u32::from_be_bytes(magic)),
        [.., 0xa1] => (Order::Little, u32::from_le_bytes(magic)),
        _ => return None,
    };
    match number {
        0xa1b2_c3d4 => Some(Kind { order, unit: 1000, record_header: 16 }),
        0xa1b2_3c4d => Some(Kind { order, unit: 1, record_header: 16 }),
        // Linux 2.4's: an interface number, a protocol and a packet type more.
        0xa1b2_cd34 => Some(Kind { order, unit: 1000, record_header: 24 }),
        _ => None,
    }
}

/// Finds the records of a file; what was found before it broke is kept.
pub(crate) fn read(file: &[u8], records: &mut Vec<Record>) -> Result<(), Broken> {
    let magic = file.first_chunk().copied().ok_or(Broken::NoStart)?;
    let kind = kind(magic).ok_or(Broken::NoStart)?;
    let link = kind.order.u32(file, 20).ok_or(Broken::NoStart)?;
    let interface = interface(link);
    let mut at = HEADER;
    while at < file.len() {
        let rest = &file[at..];
        if is_padding(&rest[..rest.len().min(kind.record_header)]) && is_padding(rest) {
            break;
        }
        at += record(&kind, interface, rest, at, records)?;
    }
    Ok(())
}

/// Lengths in units of 16 bits stand above the link type.
fn interface(field: u32) -> Interface {
    let [_, _, high, low] = field.to_be_bytes();
    let words = if field & FCS_PRESENT == 0 { 0 } else { field >> 28 };
    let fcs = usize::try_from(2 * words).unwrap_or(0);
    Interface { link: Link(u16::from_be_bytes([high, low])), fcs }
}

/// Takes one record off `rest`, which is at `at` in the file; returns its length.
fn record(
    kind: &Kind,
    interface: Interface,
    rest: &[u8],
    at: usize,
    records: &mut Vec<Record>,
) -> Result<usize, Broken> {
    let header = rest.get(..kind.record_header).ok_or(Broken::Truncated)?;
    let number = |at| kind.order.u32(header, at).ok_or(Broken::Truncated);
    let size = |at| kind.order.size(header, at).ok_or(Broken::Truncated);
    let (captured, original) = (size(8)?, size(12)?);
    if captured > LONGEST {
        return Err(Broken::Damaged(format!("{captured} bytes are no length of a packet")));
    }
    let length = kind.record_header + captured;
    if rest.len() < length {
        return Err(Broken::Truncated);
    }
    let fraction = u64::from(number(4)?) * u64::from(kind.unit);
    let timestamp = Duration::from_secs(number(0)?.into()) + Duration::from_nanos(fraction);
    records.push(Record::new(interface, timestamp, at + kind.record_header, captured, original));
    Ok(length)
}
