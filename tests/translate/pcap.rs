//! Capture files, written and read byte by byte: nothing here is shared with the program under test.

/// Link type of IP packets without anything before them.
pub(crate) const RAW: u32 = 101;
/// Link type of Ethernet.
pub(crate) const ETHERNET: u32 = 1;

/// How the numbers of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

impl Order {
    fn u16(self, value: u16) -> [u8; 2] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }

    fn u32(self, value: u32) -> [u8; 4] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }
}

/// One packet of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Seconds since the epoch.
    pub(crate) seconds: u32,
    /// Micro- or nanoseconds.
    pub(crate) fraction: u32,
    /// Bytes on the wire.
    pub(crate) original: usize,
    /// Bytes captured.
    pub(crate) bytes: Vec<u8>,
}

impl Record {
    /// A packet captured whole.
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self { seconds: 1_700_000_000, fraction: 123_456, original: bytes.len(), bytes: bytes.to_vec() }
    }
}

/// A pcap file.
pub(crate) struct Pcap {
    /// Byte order.
    pub(crate) order: Order,
    /// Timestamps count nanoseconds.
    pub(crate) nanoseconds: bool,
    /// Snapshot length.
    pub(crate) snapshot: u32,
    /// Link type.
    pub(crate) link: u32,
    /// The packets.
    pub(crate) records: Vec<Record>,
}

impl Pcap {
    /// A little-endian file with microseconds and whole packets.
    pub(crate) fn new<B: AsRef<[u8]>>(link: u32, packets: &[B]) -> Self {
        Self {
            order: Order::Little,
            nanoseconds: false,
            snapshot: 262_144,
            link,
            records: packets.iter().map(|packet| Record::new(packet.as_ref())).collect(),
        }
    }

    /// The bytes of the file.
    pub(crate) fn file(&self) -> Vec<u8> {
        let magic = if self.nanoseconds { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
        let mut file = self.order.u32(magic).to_vec();
        file.extend([2, 4].map(|version| self.order.u16(version)).concat());
        file.extend([0, 0, self.snapshot, self.link].map(|word| self.order.u32(word)).concat());
        for record in &self.records {
            let captured = u32::try_from(record.bytes.len()).unwrap();
            let original = u32::try_from(record.original).unwrap();
            let words = [record.seconds, record.fraction, captured, original];
            file.extend(words.map(|word| self.order.u32(word)).concat());
            file.extend(&record.bytes);
        }
        file
    }
}

/// Reads a file that the program wrote: little- or big-endian, microseconds, raw IP, nothing behind the last packet.
pub(crate) fn read(file: &[u8]) -> Vec<Record> {
    let order = match file.first_chunk() {
        Some([0xd4, 0xc3, 0xb2, 0xa1]) => Order::Little,
        Some([0xa1, 0xb2, 0xc3, 0xd4]) => Order::Big,
        magic => panic!("{magic:02x?} is no pcap file with microseconds"),
    };
    let word = |at: usize| {
        let bytes: [u8; 4] = file[at..at + 4].try_into().unwrap();
        match order {
            Order::Little => u32::from_le_bytes(bytes),
            Order::Big => u32::from_be_bytes(bytes),
        }
    };
    assert_eq!(word(20), RAW, "link type");
    let mut records = Vec::new();
    let mut at = 24;
    while at < file.len() {
        let length = usize::try_from(word(at + 8)).unwrap();
        records.push(Record {
            seconds: word(at),
            fraction: word(at + 4),
            original: usize::try_from(word(at + 12)).unwrap(),
            bytes: file[at + 16..at + 16 + length].to_vec(),
        });
        at += 16 + length;
    }
    records
}

/// A pcapng file under construction.
pub(crate) struct Pcapng {
    order: Order,
    file: Vec<u8>,
}

impl Pcapng {
    /// A file with one empty section.
    pub(crate) fn new(order: Order) -> Self {
        let mut pcapng = Self { order, file: Vec::new() };
        let mut body = order.u32(0x1a2b_3c4d).to_vec();
        body.extend([1, 0].map(|version| order.u16(version)).concat());
        body.extend([0xff; 8]);
        pcapng.block(0x0a0d_0d0a, &body);
        pcapng
    }

    fn block(&mut self, kind: u32, body: &[u8]) {
        let padded = body.len().next_multiple_of(4);
        let total = self.order.u32(u32::try_from(padded + 12).unwrap());
        self.file.extend(self.order.u32(kind));
        self.file.extend(total);
        self.file.extend(body);
        self.file.resize(self.file.len() + padded - body.len(), 0);
        self.file.extend(total);
    }

    /// An interface; `resolution` is the value of its `if_tsresol` option.
    pub(crate) fn interface(mut self, link: u16, resolution: Option<u8>) -> Self {
        let mut body = self.order.u16(link).to_vec();
        body.extend([0; 6]);
        if let Some(resolution) = resolution {
            body.extend(self.order.u16(9));
            body.extend(self.order.u16(1));
            body.extend([resolution, 0, 0, 0]);
            body.extend([0; 4]);
        }
        self.block(1, &body);
        self
    }

    /// A packet with a timestamp in the interface's units.
    pub(crate) fn packet(mut self, interface: u32, timestamp: u64, bytes: &[u8]) -> Self {
        let length = u32::try_from(bytes.len()).unwrap();
        let (high, low) = (timestamp >> 32, timestamp & 0xffff_ffff);
        let words = [interface, u32::try_from(high).unwrap(), u32::try_from(low).unwrap(), length, length];
        let mut body = words.map(|word| self.order.u32(word)).concat();
        body.extend(bytes);
        self.block(6, &body);
        self
    }

    /// A packet in a block of the first drafts, which also counts drops.
    pub(crate) fn old_packet(mut self, interface: u16, bytes: &[u8]) -> Self {
        let length = u32::try_from(bytes.len()).unwrap();
        let mut body = [interface, 7].map(|half| self.order.u16(half)).concat();
        body.extend([0, 0, length, length].map(|word| self.order.u32(word)).concat());
        body.extend(bytes);
        self.block(2, &body);
        self
    }

    /// A packet of the first interface without a timestamp.
    pub(crate) fn simple_packet(mut self, bytes: &[u8]) -> Self {
        let mut body = self.order.u32(u32::try_from(bytes.len()).unwrap()).to_vec();
        body.extend(bytes);
        self.block(3, &body);
        self
    }

    /// A block nobody needs: a name resolution without names.
    pub(crate) fn names(mut self) -> Self {
        self.block(4, &[0; 4]);
        self
    }

    /// The bytes of the file.
    pub(crate) fn file(self) -> Vec<u8> {
        self.file
    }
}
