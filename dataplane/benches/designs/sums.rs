//! Ways to see whether the checksum of an IPv4 header without options is right.
#![allow(unsafe_code, reason = "a function for processors that have AVX2")]

use dataplane::wire::checksum::Sum;

/// Bytes of the header.
pub(crate) const HEADER: usize = 20;

/// Numbers of right headers among these, counted in different ways.
pub(crate) type Count = fn(&[[u8; HEADER]]) -> usize;

/// The data plane's own way: 32-bit words added in 64 bits, folded at the end.
pub(crate) fn words_of_32(headers: &[[u8; HEADER]]) -> usize {
    headers.iter().filter(|header| Sum::of(*header).fold() == 0xffff).count()
}

/// Half as many additions, but each waits for the carry of the one before.
pub(crate) fn words_of_64(headers: &[[u8; HEADER]]) -> usize {
    headers.iter().filter(|header| fold(with_carries(header)) == 0xffff).count()
}

#[inline(always)]
fn with_carries(header: &[u8; HEADER]) -> u64 {
    let word = |at: usize| u64::from_ne_bytes(*header[at..].first_chunk().unwrap());
    let last = u64::from(u32::from_ne_bytes(*header.last_chunk().unwrap()));
    let (sum, carry) = word(0).overflowing_add(word(8));
    // The last word has 32 bits, and with a carry the sum is less than all ones: no second one gets lost.
    let (sum, next) = sum.overflowing_add(last + u64::from(carry));
    sum + u64::from(next)
}

#[inline(always)]
fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    sum as u16
}

/// Eight 16-bit words at once, where the processor can.
#[cfg(target_arch = "x86_64")]
pub(crate) fn avx2() -> Option<Count> {
    is_x86_feature_detected!("avx2").then_some(|headers| {
        // SAFETY: the processor has AVX2.
        unsafe { vectors(headers) }
    })
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn vectors(headers: &[[u8; HEADER]]) -> usize {
    headers.iter().filter(|header| fold(u64::from(vector_sum(header))) == 0xffff).count()
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2")]
fn vector_sum(header: &[u8; HEADER]) -> u32 {
    use std::arch::x86_64::{
        _mm_add_epi32, _mm_cvtsi128_si32, _mm_shuffle_epi32, _mm256_castsi256_si128, _mm256_cvtepu16_epi32,
        _mm256_extracti128_si256,
    };
    let (first, last) = header.split_first_chunk::<16>().unwrap();
    let words = _mm256_cvtepu16_epi32(bytemuck::cast(*first));
    let four = _mm_add_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
    let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b00_00_11_10>(four));
    let one = _mm_add_epi32(two, _mm_shuffle_epi32::<0b00_00_00_01>(two));
    let last = u32::from_ne_bytes(*last.first_chunk().unwrap());
    _mm_cvtsi128_si32(one).cast_unsigned() + (last >> 16) + (last & 0xffff)
}
