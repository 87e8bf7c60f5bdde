//! The process's heap, which large tables come from and return to.

/// Blocks from this size on come from the kernel one by one, and go back to it when they are freed.
const LARGE: i32 = 1 << 20;

/// Has the memory of replaced tables go back to the kernel. Left to itself, glibc raises the size from which it does that to
/// 32 MB after the first large blocks were freed, and a relay that reloads a million mappings a few times grows to three times
/// its size. False when the allocator has no such setting.
pub fn return_large_blocks() -> bool {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: sets a number of the allocator, under the allocator's own lock.
        unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) == 1 }
    }
    #[cfg(not(target_env = "gnu"))]
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glibc_takes_the_setting() {
        assert_eq!(return_large_blocks(), cfg!(target_env = "gnu"));
    }
}
