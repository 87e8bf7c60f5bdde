//! The process's heap, which large tables come from and return to.

/// Blocks from this size on come from the kernel one by one, and go back to it when they are freed.
const LARGE: i32 = 1 << 20;
/// What the heap takes from the kernel at once, and keeps free before it gives anything back.
const STEP: i32 = 8 << 20;

/// Has the memory of replaced tables go back to the kernel, and the heap grow and shrink in large steps.
///
/// Left to itself, glibc raises the size from which blocks go back to 32 MB after the first large ones were freed, and a relay
/// that reloads a million mappings a few times grows to three times its size. And it moves the end of the heap by 128 kB at a time,
/// up and down: each time under a lock of the process's memory that whoever looks at the process (`ps`, a monitor) holds as well,
/// and has to get a processor to let go of. The control thread waited for it up to a fifth of a second among 100,000 changes of
/// routes.
///
/// Small blocks are joined with free ones beside them when they are freed. Left to itself, glibc keeps them apart, and joins all
/// of them at once when somebody asks for a larger one: 3 ms of that thread among the same changes.
///
/// False when the allocator has no such settings.
pub fn set_up_heap() -> bool {
    #[cfg(target_env = "gnu")]
    {
        let settings = [
            (libc::M_MMAP_THRESHOLD, LARGE),
            (libc::M_TOP_PAD, STEP),
            (libc::M_TRIM_THRESHOLD, STEP),
            (libc::M_MXFAST, 0),
        ];
        settings.into_iter().all(|(setting, value)| {
            // SAFETY: sets a number of the allocator, under the allocator's own lock.
            unsafe { libc::mallopt(setting, value) == 1 }
        })
    }
    #[cfg(not(target_env = "gnu"))]
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glibc_takes_the_settings() {
        assert_eq!(set_up_heap(), cfg!(target_env = "gnu"));
    }
}
