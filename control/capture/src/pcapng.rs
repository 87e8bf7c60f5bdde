//! pcapng: blocks, in sections that may differ in byte order, of interfaces that may differ in link type.
//!
//! ```text
//! block   | type (4) | length (4) | body ... | length (4) |
//! ```

use std::time::Duration;

use crate::bytes::{Order, is_padding};
use crate::link::Link;
use crate::pcap::Broken;
use crate::record::{Interface, Record};

/// What such a file begins with, in either order.
pub(crate) const SECTION: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

const INTERFACE_DESCRIPTION: u32 = 1;
/// The packet block of the first drafts, which old tools still write.
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;
/// Bytes of a block that has no body.
const EMPTY_BLOCK: usize = 12;

const OPTION_TIME_RESOLUTION: u16 = 9;
const OPTION_FCS_LENGTH: u16 = 13;
const OPTION_TIME_OFFSET: u16 = 14;
const OPTION_PACKET_FLAGS: u16 = 2;

/// An interface as its description has it.
struct Description {
    interface: Interface,
    snapshot: usize,
    /// Units of its clock in a second.
    units: u64,
    /// Seconds to add.
    offset: i64,
}

struct Reader<'f> {
    file: &'f [u8],
    order: Order,
    interfaces: Vec<Description>,
}

/// Finds the packets of a file; what was found before it broke is kept.
pub(crate) fn read(file: &[u8], records: &mut Vec<Record>) -> Result<(), Broken> {
    let mut reader = Reader { file, order: Order::Little, interfaces: Vec::new() };
    let mut at = 0;
    while at < file.len() {
        if is_padding(&file[at..file.len().min(at + EMPTY_BLOCK)]) && is_padding(&file[at..]) {
            break;
        }
        at = reader.block(at, records).map_err(|error| match error {
            Broken::Truncated if at == 0 => Broken::NoStart,
            error => error,
        })?;
    }
    Ok(())
}

impl Reader<'_> {
    /// Reads the block at `at`; returns where the next one begins.
    fn block(&mut self, at: usize, records: &mut Vec<Record>) -> Result<usize, Broken> {
        let rest = &self.file[at..];
        if rest.starts_with(&SECTION) {
            self.order = byte_order(rest)?;
            self.interfaces.clear();
        }
        let kind = self.order.u32(rest, 0).ok_or(Broken::Truncated)?;
        let length = self.order.size(rest, 4).ok_or(Broken::Truncated)?;
        if length < EMPTY_BLOCK || length % 4 != 0 {
            return Err(Broken::Damaged(format!("{length} bytes are no length of a block")));
        }
        let block = rest.get(..length).ok_or(Broken::Truncated)?;
        if self.order.size(block, length - 4) != Some(length) {
            return Err(Broken::Damaged("the two lengths of a block differ".to_owned()));
        }
        let (body, start) = (&block[8..length - 4], at + 8);
        match kind {
            INTERFACE_DESCRIPTION => self.describe(body)?,
            ENHANCED_PACKET => self.packet(body, start, self.order.size(body, 0), records)?,
            PACKET => self.packet(body, start, self.order.u16(body, 0).map(usize::from), records)?,
            SIMPLE_PACKET => self.simple_packet(body, start, records)?,
            _ => {}
        }
        Ok(at + length)
    }

    fn describe(&mut self, body: &[u8]) -> Result<(), Broken> {
        let link = self.order.u16(body, 0).ok_or_else(short_block)?;
        let snapshot = self.order.size(body, 4).ok_or_else(short_block)?;
        let mut described = Description {
            interface: Interface { link: Link(link), fcs: 0 },
            snapshot: if snapshot == 0 { usize::MAX } else { snapshot },
            units: 1_000_000,
            offset: 0,
        };
        self.options(body.get(8..).unwrap_or_default(), |code, value| match (code, value) {
            (OPTION_TIME_RESOLUTION, [resolution, ..]) => described.units = units(*resolution),
            (OPTION_FCS_LENGTH, [length, ..]) => described.interface.fcs = usize::from(*length),
            (OPTION_TIME_OFFSET, value) => {
                let offset = value.first_chunk().copied().unwrap_or_default();
                described.offset = match self.order {
                    Order::Little => i64::from_le_bytes(offset),
                    Order::Big => i64::from_be_bytes(offset),
                };
            }
            _ => {}
        });
        self.interfaces.push(described);
        Ok(())
    }

    /// An Enhanced Packet Block or a Packet Block: the same but for how the interface is written.
    fn packet(
        &self,
        body: &[u8],
        start: usize,
        interface: Option<usize>,
        records: &mut Vec<Record>,
    ) -> Result<(), Broken> {
        const HEADER: usize = 20;
        let field = |at| self.order.u32(body, at).ok_or_else(short_block);
        let size = |at| self.order.size(body, at).ok_or_else(short_block);
        let described = self.interface(interface.ok_or_else(short_block)?)?;
        let time = u64::from(field(4)?) << 32 | u64::from(field(8)?);
        let (captured, original) = (size(12)?, size(16)?);
        let Some(options) = body.get(HEADER..).and_then(|data| data.get(captured..)) else {
            let message = format!("{captured} captured bytes do not fit its block");
            return Err(Broken::Damaged(message));
        };
        let mut interface = described.interface;
        self.options(&options[options.len() % 4..], |code, value| {
            if let (OPTION_PACKET_FLAGS, Some(flags)) = (code, self.order.size(value, 0)) {
                let fcs = flags >> 5 & 0xf;
                if fcs != 0 {
                    interface.fcs = fcs;
                }
            }
        });
        records.push(Record::new(interface, described.time(time), start + HEADER, captured, original));
        Ok(())
    }

    /// A Simple Packet Block tells neither its time nor how much was captured: the rest of it, or the snapshot length.
    fn simple_packet(&self, body: &[u8], start: usize, records: &mut Vec<Record>) -> Result<(), Broken> {
        let original = self.order.size(body, 0).ok_or_else(short_block)?;
        let described = self.interface(0)?;
        let captured = original.min(described.snapshot);
        if captured > body.len() - 4 {
            return Err(Broken::Damaged(format!("{captured} captured bytes do not fit its block")));
        }
        records.push(Record::new(described.interface, Duration::ZERO, start + 4, captured, original));
        Ok(())
    }

    fn interface(&self, number: usize) -> Result<&Description, Broken> {
        self.interfaces.get(number).ok_or_else(|| {
            Broken::Damaged(format!("it names interface {number}, which the file does not describe"))
        })
    }

    /// Hands every option to `take`; what is wrong with options ends them, not the file.
    fn options(&self, mut options: &[u8], mut take: impl FnMut(u16, &[u8])) {
        while let (Some(code), Some(length)) = (self.order.u16(options, 0), self.order.u16(options, 2)) {
            let length = usize::from(length);
            let Some(value) = options.get(4..4 + length) else { return };
            if code == 0 {
                return;
            }
            take(code, value);
            options = options.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

impl Description {
    fn time(&self, number: u64) -> Duration {
        let fraction = u128::from(number % self.units) * 1_000_000_000 / u128::from(self.units);
        let seconds = (number / self.units).saturating_add_signed(self.offset);
        Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(fraction).unwrap_or(0))
    }
}

fn byte_order(section: &[u8]) -> Result<Order, Broken> {
    match section.get(8..12) {
        Some([0x1a, 0x2b, 0x3c, 0x4d]) => Ok(Order::Big),
        Some([0x4d, 0x3c, 0x2b, 0x1a]) => Ok(Order::Little),
        Some(_) => Err(Broken::Damaged("a section without a byte order".to_owned())),
        None => Err(Broken::Truncated),
    }
}

/// A power of ten, or of two when the highest bit is set.
fn units(resolution: u8) -> u64 {
    let power = u32::from(resolution & 0x7f);
    let units = if resolution & 0x80 == 0 { 10_u64.checked_pow(power) } else { 2_u64.checked_pow(power) };
    units.unwrap_or(u64::MAX)
}

fn short_block() -> Broken {
    Broken::Damaged("a block is shorter than its fields".to_owned())
}
