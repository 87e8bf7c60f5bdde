//! What follows the quoted headers of an ICMP error: how much of the quote is kept, the padding behind it, and the
//! extension structure of RFC 4884. The same in both directions, but for sizes.

use crate::buffer::Buffer;
use crate::verdict::DropReason;
use crate::wire::checksum::{self, Delta, Sum};
use crate::wire::icmp::{EXTENSION_HEADER, MIN_EXTENDED_QUOTE, NAMING_OBJECT, NamingObject};

/// What becomes of the extension structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extension {
    /// There is none, or it goes.
    None,
    /// It stays as it is.
    Kept,
    /// It stays, with this object at its end.
    Extended(NamingObject),
    /// A new one with only this object.
    New(NamingObject),
}

impl Extension {
    /// Bytes of the structure to come, `old` being those of the present one.
    pub(super) const fn length(&self, old: usize) -> usize {
        match self {
            Self::None => 0,
            Self::Kept => old,
            Self::Extended(_) => old + NAMING_OBJECT,
            Self::New(_) => EXTENSION_HEADER + NAMING_OBJECT,
        }
    }
}

/// The end of a message, from its quote on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tail {
    /// Bytes of the old quote.
    pub(super) quote_length: usize,
    /// How many of them are kept.
    pub(super) keep_quote: usize,
    /// Zero bytes behind them.
    pub(super) padding: usize,
    /// What follows.
    pub(super) extension: Extension,
}

/// What a message may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Space {
    /// Bytes of the message behind its ICMP header.
    pub(super) room: usize,
    /// An extended quote is padded to a multiple of this.
    pub(super) unit: usize,
    /// Bytes by which the quoted headers grow.
    pub(super) growth: isize,
}

impl Tail {
    /// The quote as it is, or its `unpadded` beginning when the structure behind it goes, cut to the room there is.
    pub(super) fn plain(quote_length: usize, unpadded: usize, had_extension: bool, space: Space) -> Self {
        let wanted = if had_extension { unpadded } else { quote_length };
        let keep_quote = wanted.min(space.room.saturating_add_signed(-space.growth));
        Self { quote_length, keep_quote, padding: 0, extension: Extension::None }
    }

    /// A quote of at most `longest` bytes and an extension behind it, if there is room for both.
    pub(super) fn extended(
        quote_length: usize,
        longest: usize,
        (extension, old_length): (Extension, usize),
        space: Space,
    ) -> Option<Self> {
        let room = space.room.checked_sub(extension.length(old_length))? / space.unit * space.unit;
        if room < MIN_EXTENDED_QUOTE {
            return None;
        }
        let grown = quote_length.saturating_add_signed(space.growth);
        let kept = grown.min(room).min(longest);
        let padded = kept.next_multiple_of(space.unit).max(MIN_EXTENDED_QUOTE);
        let keep_quote = quote_length - (grown - kept);
        Some(Self { quote_length, keep_quote, padding: padded - kept, extension })
    }

    /// Bytes of quote and padding to come, for the length attribute; 0 without an extension.
    pub(super) const fn attribute(&self, growth: isize) -> usize {
        match self.extension {
            Extension::None => 0,
            _ => self.keep_quote.saturating_add_signed(growth) + self.padding,
        }
    }

    /// The sums of what goes and of what comes; `body` is the old message behind its ICMP header.
    pub(super) fn sums(&self, body: &[u8]) -> (Sum, Sum) {
        let (quote, structure) = body.split_at(self.quote_length);
        let mut old = Sum::of_part(&quote[self.keep_quote..], self.keep_quote);
        let mut new = Sum::ZERO;
        match self.extension {
            Extension::None => old += Sum::of_part(structure, self.quote_length),
            Extension::Kept => {}
            Extension::Extended(object) => {
                old += Sum::of(&structure[2..4]);
                new += Sum::of_u16(extended_checksum(structure, &object)) + Sum::of(&object.bytes());
            }
            Extension::New(object) => {
                old += Sum::of_part(structure, self.quote_length);
                new += Sum::of(&object.structure());
            }
        }
        (old, new)
    }

    /// Moves, cuts and writes; `start` is the offset of the quote in the packet, whose headers are still the old ones.
    ///
    /// # Errors
    /// The buffer has no room.
    pub(super) fn write(&self, buffer: &mut impl Buffer, start: usize) -> Result<(), DropReason> {
        let (kept, structure) = (start + self.keep_quote, start + self.quote_length);
        let old_length = buffer.data().len() - structure;
        match self.extension {
            Extension::None => buffer.truncate(kept),
            Extension::New(object) => {
                buffer.truncate(kept);
                let bytes = object.structure();
                push(buffer, self.padding + bytes.len())?;
                let data = buffer.data_mut();
                data[kept..kept + self.padding].fill(0);
                data[kept + self.padding..].copy_from_slice(&bytes);
            }
            Extension::Kept | Extension::Extended(_) => {
                let place = kept + self.padding;
                push(buffer, place.saturating_sub(structure))?;
                let data = buffer.data_mut();
                data.copy_within(structure..structure + old_length, place);
                data[kept..place].fill(0);
                buffer.truncate(place + old_length);
                if let Extension::Extended(object) = self.extension {
                    let structure = &mut buffer.data_mut()[place..];
                    let checksum = extended_checksum(structure, &object);
                    structure[2..4].copy_from_slice(&checksum.to_be_bytes());
                    push(buffer, NAMING_OBJECT)?;
                    buffer.data_mut()[place + old_length..].copy_from_slice(&object.bytes());
                }
            }
        }
        Ok(())
    }
}

fn push(buffer: &mut impl Buffer, length: usize) -> Result<(), DropReason> {
    buffer.push_back(length).map(|_| ()).map_err(|_| DropReason::NoBuffer)
}

/// The checksum of a structure that gains an object; one that has none goes on without.
fn extended_checksum(structure: &[u8], object: &NamingObject) -> u16 {
    match u16::from_be_bytes([structure[2], structure[3]]) {
        0 => 0,
        checksum => checksum::adjust(checksum, Delta::new(Sum::ZERO, Sum::of(&object.bytes()))),
    }
}
