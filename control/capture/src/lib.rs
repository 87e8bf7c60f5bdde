//! Capture files: pcap and pcapng, plain or compressed with gzip, of every link type that carries IP.
//!
//! What enters: a path (`-` is standard input), or the bytes of a file. What leaves: the packets in order, each with its
//! time, its link type and what was captured of it. What this crate refuses to know: what is inside of a packet.
//!
//! A file is read whole: the packets are slices of it. Nothing in a file is believed before it was compared with how much
//! of the file there is, so no file makes this crate panic or take more memory than the file itself.
//!
//! Reading order: `record.rs` is one packet; `pcap.rs` and `pcapng.rs` find them in the bytes of a file; `link.rs` takes
//! off what precedes the IP header; `file.rs` opens files; `writer.rs` writes pcap, `ng_writer.rs` pcapng.
#![forbid(unsafe_code)]

mod bytes;
mod file;
mod link;
mod ng_writer;
mod pcap;
mod pcapng;
mod record;
mod writer;

pub use file::{Capture, CaptureError, STANDARD};
pub use link::{Content, Link};
pub use ng_writer::{ANSWERED, DROPPED, InterfaceId, PASSED, PcapngWriter, REDIRECTED, Record};
pub use record::Packet;
pub use writer::Writer;
