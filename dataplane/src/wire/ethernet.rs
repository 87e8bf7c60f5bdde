//! Ethernet II, with at most one 802.1Q tag.
//!
//! ```text
//!  0                 6                 12      14
//!  +-----------------+-----------------+-------+
//!  | destination     | source          | type  |                      untagged: 14 bytes
//!  +-----------------+-----------------+-------+-------+-------+
//!  | destination     | source          | 8100  | TCI   | type  |      802.1Q:   18 bytes
//!  +-----------------+-----------------+-------+-------+-------+
//! ```

/// Length of an untagged header.
pub const HEADER: usize = 14;
/// Length of a header with one 802.1Q tag.
pub const TAGGED_HEADER: usize = 18;

/// EtherType of IPv4.
pub const TYPE_IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const TYPE_ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const TYPE_IPV6: u16 = 0x86dd;
/// EtherType of an 802.1Q tag.
pub const TYPE_VLAN: u16 = 0x8100;
/// EtherType of a provider's tag (802.1ad), in front of a further one.
pub const TYPE_PROVIDER_VLAN: u16 = 0x88a8;
/// What switches put in front of a further tag before 802.1ad.
pub const TYPE_OLD_PROVIDER_VLAN: u16 = 0x9100;

/// What the relay needs to know of a frame's link-layer header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Where the frame goes.
    pub destination: [u8; 6],
    /// VLAN identifier of its 802.1Q tag; 0 (priority tag) counts as untagged.
    pub vlan: Option<u16>,
    /// EtherType of the payload.
    pub ether_type: u16,
    /// Bytes before the payload.
    pub length: usize,
}

/// The frame is shorter than its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooShort;

impl Header {
    /// Reads the header of `frame`.
    ///
    /// # Errors
    /// [`TooShort`].
    #[inline]
    pub fn parse(frame: &[u8]) -> Result<Self, TooShort> {
        let fixed: &[u8; HEADER] = frame.first_chunk().ok_or(TooShort)?;
        let destination = [fixed[0], fixed[1], fixed[2], fixed[3], fixed[4], fixed[5]];
        let ether_type = u16::from_be_bytes([fixed[12], fixed[13]]);
        if ether_type != TYPE_VLAN {
            return Ok(Self { destination, vlan: None, ether_type, length: HEADER });
        }
        let tagged: &[u8; TAGGED_HEADER] = frame.first_chunk().ok_or(TooShort)?;
        Ok(Self {
            destination,
            vlan: vlan_of([tagged[14], tagged[15]]),
            ether_type: u16::from_be_bytes([tagged[16], tagged[17]]),
            length: TAGGED_HEADER,
        })
    }

    /// Broadcast or multicast at the link layer.
    #[inline]
    #[must_use]
    pub const fn is_group(&self) -> bool {
        self.destination[0] & 1 == 1
    }
}

/// The VLAN identifier in the control information of a tag, in network order; 0 (priority tag) is none.
#[inline]
#[must_use]
pub const fn vlan_of(control: [u8; 2]) -> Option<u16> {
    match u16::from_be_bytes(control) & 0x0fff {
        0 => None,
        vlan => Some(vlan),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAGGED: [u8; 20] =
        [0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x81, 0x00, 0xa0, 0x64, 0x86, 0xdd, 0x60, 0x00];

    #[test]
    fn reads_a_tagged_and_an_untagged_header() {
        let header = Header::parse(&TAGGED).unwrap();
        assert_eq!((header.vlan, header.ether_type, header.length), (Some(100), TYPE_IPV6, 18));
        assert!(header.is_group());
        let mut plain = TAGGED;
        plain[0] = 0x02;
        plain[12..14].copy_from_slice(&[0x08, 0x00]);
        let header = Header::parse(&plain).unwrap();
        assert_eq!((header.vlan, header.ether_type, header.length), (None, TYPE_IPV4, 14));
        assert!(!header.is_group());
    }

    #[test]
    fn a_priority_tag_is_no_vlan() {
        let mut frame = TAGGED;
        frame[14..16].copy_from_slice(&[0xe0, 0x00]);
        assert_eq!(Header::parse(&frame).unwrap().vlan, None);
    }

    #[test]
    fn refuses_every_truncation() {
        for length in 0..TAGGED_HEADER {
            assert_eq!(Header::parse(&TAGGED[..length]), Err(TooShort), "{length} bytes");
        }
    }
}
