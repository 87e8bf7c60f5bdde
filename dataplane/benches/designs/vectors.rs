//! The headers put together in vector registers: two stores of 32 bytes that overlap (AVX2), or one of 64 of which 54
//! are written (AVX-512).
//!
//! ```text
//!  link 14 | first word 8 | source 16 | destination 16
//!  0..32 = link, first, source 0..10         22..54 = source, destination
//! ```
#![allow(unsafe_code, reason = "functions for processors that have these instructions, and a masked store")]
#![allow(
    clippy::incompatible_msrv,
    reason = "AVX-512 needs Rust 1.89: so does this benchmark, but nothing that ships"
)]

use std::arch::x86_64::{
    __m128i, __m256i, _mm_alignr_epi8, _mm_or_si128, _mm_set_epi64x, _mm_slli_si128, _mm_srli_si128,
    _mm256_set_m128i, _mm512_castsi256_si512, _mm512_inserti64x4, _mm512_mask_storeu_epi8,
};

use dataplane::io::BURST;

use super::header::{Frame, Input, LENGTH, Write};

/// Two stores of 32 bytes.
pub(crate) struct Avx2(());

/// One masked store of 64 bytes.
pub(crate) struct Avx512(());

impl Avx2 {
    /// If this processor has AVX2.
    pub(crate) fn new() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }
}

impl Avx512 {
    /// If this processor has AVX-512 with instructions for bytes.
    pub(crate) fn new() -> Option<Self> {
        (is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")).then_some(Self(()))
    }
}

impl Write for Avx2 {
    fn burst(&self, inputs: &[Input; BURST], frames: &mut [Frame; BURST]) {
        // SAFETY: `new` has seen that the processor has AVX2.
        unsafe { two_stores(inputs, frames) }
    }
}

impl Write for Avx512 {
    fn burst(&self, inputs: &[Input; BURST], frames: &mut [Frame; BURST]) {
        // SAFETY: `new` has seen that the processor has both.
        unsafe { one_store(inputs, frames) }
    }
}

#[target_feature(enable = "avx2")]
fn two_stores(inputs: &[Input; BURST], frames: &mut [Frame; BURST]) {
    for (input, frame) in inputs.iter().zip(frames) {
        let source = bytemuck::cast(input.source.octets());
        let destination = bytemuck::cast(input.destination.octets());
        let headers = frame.headers();
        headers[..32].copy_from_slice(bytemuck::bytes_of(&first_half(input, source)));
        headers[22..].copy_from_slice(bytemuck::bytes_of(&_mm256_set_m128i(destination, source)));
    }
}

#[target_feature(enable = "avx2,avx512f,avx512bw")]
fn one_store(inputs: &[Input; BURST], frames: &mut [Frame; BURST]) {
    for (input, frame) in inputs.iter().zip(frames) {
        let source = bytemuck::cast(input.source.octets());
        let destination = bytemuck::cast(input.destination.octets());
        let middle = _mm_alignr_epi8::<10>(destination, source);
        let rest = _mm256_set_m128i(_mm_srli_si128::<10>(destination), middle);
        let whole = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(first_half(input, source)), rest);
        let headers: *mut [u8; LENGTH] = frame.headers();
        // SAFETY: the mask leaves the 54 bytes of the array, which is ours to write.
        unsafe { _mm512_mask_storeu_epi8(headers.cast(), (1 << LENGTH) - 1, whole) };
    }
}

/// The first 32 bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn first_half(input: &Input, source: __m128i) -> __m256i {
    // In the upper half of the register.
    let first = _mm_set_epi64x(input.first.to_be().cast_signed(), 0);
    let low = _mm_or_si128(bytemuck::cast(input.link), _mm_slli_si128::<6>(first));
    _mm256_set_m128i(_mm_alignr_epi8::<10>(source, first), low)
}
