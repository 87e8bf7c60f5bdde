//! The data plane's own way: the link-layer header, the first word, both addresses, one copy each.

use dataplane::io::BURST;
use dataplane::table::fib::LinkHeader;
use dataplane::wire::ipv6;

use super::header::{Frame, Input, Write};

pub(crate) struct Fields;

impl Write for Fields {
    fn burst(&self, inputs: &[Input; BURST], frames: &mut [Frame; BURST]) {
        for (input, frame) in inputs.iter().zip(frames) {
            let headers = frame.headers();
            let (_, header) = headers.split_last_chunk_mut().unwrap();
            ipv6::emit_words(input.first, input.source, input.destination, header);
            LinkHeader::Untagged(input.link.first_chunk().unwrap()).write(headers);
        }
    }
}
