//! Bad memory: turns bits over in a running process.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use crate::lab::LabError;

const PIECE: usize = 1 << 20;
/// What DPDK has reserved and mostly never touched is larger.
const LARGEST: u64 = 256 << 20;

/// Turns the lowest bit of an address over wherever a process has it in memory of its own, in either byte order; how often
/// that was.
pub(super) fn flip(pid: u32, address: [u8; 16]) -> Result<usize, LabError> {
    let path = format!("/proc/{pid}/mem");
    let memory = File::options().read(true).write(true).open(&path).map_err(LabError::io(&path))?;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).map_err(LabError::io("maps"))?;
    let mut reversed = address;
    reversed.reverse();
    let mut hits = 0;
    for (from, to) in maps.lines().filter_map(own_memory) {
        let mut at = from;
        while at < to {
            let length = usize::try_from(to - at).unwrap_or(PIECE).min(PIECE);
            let mut bytes = vec![0; length];
            // Some ranges cannot be read; those are no tables.
            if memory.read_exact_at(&mut bytes, at).is_ok() {
                for (pattern, low) in [(address, 15), (reversed, 0)] {
                    for place in places(&bytes, &pattern) {
                        let flipped = [pattern[low] ^ 1];
                        hits += usize::from(memory.write_at(&flipped, at + (place + low) as u64).is_ok());
                    }
                }
            }
            at += length as u64;
        }
    }
    Ok(hits)
}

/// Private memory without a file.
fn own_memory(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split_whitespace();
    let (from, to) = words.next()?.split_once('-')?;
    let is_private = words.next()?.ends_with('p');
    let name = words.nth(3).unwrap_or_default();
    let hex = |text| u64::from_str_radix(text, 16).ok();
    let range = (hex(from)?, hex(to)?);
    let is_own = is_private && (name.is_empty() || name == "[heap]") && range.1 - range.0 <= LARGEST;
    is_own.then_some(range)
}

fn places<'a>(bytes: &'a [u8], pattern: &'a [u8; 16]) -> impl Iterator<Item = usize> + 'a {
    bytes.windows(16).enumerate().filter(move |(_, window)| *window == pattern).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_files_and_reserves_is_left_alone() {
        assert_eq!(own_memory("7f00000-7f10000 rw-p 00000000 00:00 0 "), Some((0x7f0_0000, 0x7f1_0000)));
        assert_eq!(
            own_memory("7f00000-7f10000 rw-p 00000000 00:00 0 [heap]"),
            Some((0x7f0_0000, 0x7f1_0000))
        );
        assert_eq!(own_memory("7f00000-7f10000 r-xp 00000000 08:01 77 /usr/lib/libc.so"), None);
        assert_eq!(own_memory("7f00000-7f10000 rw-s 00000000 00:00 0 "), None);
        assert_eq!(own_memory("100000000-200000000 rw-p 00000000 00:00 0 "), None);
    }

    #[test]
    fn an_address_is_found_wherever_it_lies() {
        let pattern = [7; 16];
        let mut bytes = vec![0; 100];
        bytes[3..19].fill(7);
        bytes[84..].fill(7);
        assert_eq!(places(&bytes, &pattern).collect::<Vec<_>>(), [3, 84]);
    }
}
