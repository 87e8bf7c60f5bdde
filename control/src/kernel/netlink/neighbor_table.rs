//! The limits of the kernel's neighbour tables (RTM_NEWNEIGHTBL).

use super::attribute::{Attributes, Message, u32_at, u32_of};
use super::request::{AF_INET, AF_INET6};
use crate::kernel::neighbor_tables::NeighborTable;

const RTM_NEWNEIGHTBL: u16 = 64;
/// ndtmsg: the family and three bytes of padding.
const HEADER: usize = 4;
const NDTA_THRESH2: u16 = 3;
const NDTA_THRESH3: u16 = 4;
const NDTA_CONFIG: u16 = 5;
/// ndt_config: two 16 bit sizes, then the number of entries.
const CONFIG_ENTRIES: usize = 4;

/// A table; nothing for other messages, and for those about one interface, which have no limits.
pub(in crate::kernel) fn neighbor_table(message: Message<'_>) -> Option<NeighborTable> {
    if message.kind != RTM_NEWNEIGHTBL {
        return None;
    }
    let ipv6 = match *message.payload.first()? {
        AF_INET => false,
        AF_INET6 => true,
        _ => return None,
    };
    let (mut soft, mut hard, mut entries) = (None, None, None);
    for (kind, value) in Attributes(message.payload.get(HEADER..)?) {
        match kind {
            NDTA_THRESH2 => soft = u32_of(value),
            NDTA_THRESH3 => hard = u32_of(value),
            NDTA_CONFIG => entries = u32_at(value, CONFIG_ENTRIES),
            _ => {}
        }
    }
    Some(NeighborTable { ipv6, soft: soft?, hard: hard?, entries: entries? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).unwrap();
        [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat()
    }

    #[test]
    fn limits_and_entries_are_read_and_interfaces_skipped() {
        let config = [[28, 0, 0, 1], 77_u32.to_ne_bytes(), [0; 4]].concat();
        let payload = [
            vec![AF_INET6, 0, 0, 0],
            attribute(1, b"ndisc_cache\0"),
            attribute(2, &128_u32.to_ne_bytes()),
            attribute(3, &512_u32.to_ne_bytes()),
            attribute(4, &1024_u32.to_ne_bytes()),
            attribute(5, &config),
        ]
        .concat();
        let message = |payload| Message { kind: RTM_NEWNEIGHTBL, flags: 0, sequence: 1, payload };
        let expected = NeighborTable { ipv6: true, soft: 512, hard: 1024, entries: 77 };
        assert_eq!(neighbor_table(message(&payload)), Some(expected));
        let of_an_interface = [vec![AF_INET, 0, 0, 0], attribute(1, b"arp_cache\0\0\0")].concat();
        assert_eq!(neighbor_table(message(&of_an_interface)), None);
        for end in 0..payload.len() {
            let _ = neighbor_table(message(&payload[..end]));
        }
    }
}
