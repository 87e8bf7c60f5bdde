//! Asking the processor for a cache line before it is needed.
#![allow(unsafe_code, reason = "the intrinsic takes a pointer; one line, measured in docs/performance.md")]

use std::sync::Arc;

/// Has the first cache line of `target` fetched. Only a hint: nothing is read, nothing can fail.
#[inline(always)]
pub(crate) fn prefetch<T>(target: &T) {
    prefetch_line(std::ptr::from_ref(target).cast());
}

/// Has that fetched which making another owner of `shared` changes: the count of its owners, 16 bytes in front of the value.
#[inline(always)]
pub(crate) fn prefetch_owners<T>(shared: &Arc<T>) {
    prefetch_line(Arc::as_ptr(shared).cast::<i8>().wrapping_sub(16));
}

#[inline(always)]
fn prefetch_line(address: *const i8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: prefetching has no effect but on the caches, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
