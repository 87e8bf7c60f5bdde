//! Finished headers for each mapping, copied whole; then what differs from packet to packet is written over: the first
//! word and the last four bytes of the source. One more cache line for each mapping.

use dataplane::io::BURST;

use super::header::{Frame, Input, LENGTH, Write};
use super::memory::{Array, Pages};
use super::prefetch::prefetch;

/// The template of each mapping, on a cache line of its own.
pub(crate) struct Template(Array<[u64; 8]>);

impl Template {
    /// Templates for these mappings.
    pub(crate) fn new(inputs: &[Input], pages: Pages) -> Self {
        let mut templates = Array::zeroed(inputs.len(), pages);
        for (template, input) in templates.iter_mut().zip(inputs) {
            let bytes: &mut [u8; 64] = bytemuck::cast_mut(template);
            bytes[..14].copy_from_slice(&input.link[..14]);
            bytes[22..38].copy_from_slice(&input.source.octets());
            bytes[38..54].copy_from_slice(&input.destination.octets());
        }
        Self(templates)
    }

    #[inline(always)]
    fn of(&self, input: &Input) -> &[u64; 8] {
        &self.0[((u64::from(input.mapping) * self.0.len() as u64) >> 32) as usize]
    }
}

impl Write for Template {
    fn burst(&self, inputs: &[Input; BURST], frames: &mut [Frame; BURST]) {
        inputs.iter().for_each(|input| prefetch(self.of(input)));
        for (input, frame) in inputs.iter().zip(frames) {
            let template: &[u8; 64] = bytemuck::cast_ref(self.of(input));
            let headers = frame.headers();
            headers.copy_from_slice(&template[..LENGTH]);
            headers[14..22].copy_from_slice(&input.first.to_be_bytes());
            headers[34..38].copy_from_slice(&input.source.octets()[12..]);
        }
    }
}
