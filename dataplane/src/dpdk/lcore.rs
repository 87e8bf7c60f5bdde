//! A thread of ours as an lcore of DPDK: pinned to a CPU, with an id, so that mempools keep a cache for it.

use std::fs;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, Ordering};

use super::eal::Eal;
use super::error::{Errno, LcoreError};

/// One more than the highest id an lcore has ever had; the thread that initialised DPDK has id 0.
static LCORES: AtomicU32 = AtomicU32::new(1);

/// Makes the calling thread an lcore of DPDK until dropped. It stays on the thread that made it.
#[derive(Debug)]
#[must_use = "the thread stops being an lcore when this is dropped"]
pub struct LcoreGuard {
    id: u32,
    _eal: Eal,
    /// Registration belongs to the thread: a raw pointer makes the guard neither `Send` nor `Sync`.
    _thread: PhantomData<*const ()>,
}

impl LcoreGuard {
    pub(super) fn register(eal: &Eal) -> Result<Self, LcoreError> {
        if let Some(id) = lcore_id() {
            return Err(LcoreError::AlreadyRegistered(id));
        }
        // SAFETY: the EAL is initialised, `eal` proves it, and this thread is not registered, as just asked.
        if unsafe { dpdk_sys::rte_thread_register() } != 0 {
            return Err(LcoreError::Full { most: dpdk_sys::BL_MAX_LCORE, errno: Errno::last() });
        }
        let id = lcore_id().expect("a registered thread has an lcore id");
        LCORES.fetch_max(id + 1, Ordering::Relaxed);
        Ok(Self { id, _eal: eal.clone(), _thread: PhantomData })
    }

    /// The id DPDK gave the thread. Not the number of its CPU.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }
}

impl Drop for LcoreGuard {
    fn drop(&mut self) {
        // SAFETY: this thread registered in `register` and the guard cannot leave it; the EAL is kept alive
        // by `_eal`.
        unsafe { dpdk_sys::rte_thread_unregister() }
    }
}

/// The lcore id of the calling thread, or `None` for a thread DPDK does not know.
#[inline]
#[must_use]
pub fn lcore_id() -> Option<u32> {
    // SAFETY: reads a thread-local integer.
    let id = unsafe { dpdk_sys::bl_lcore_id() };
    (id != dpdk_sys::BL_LCORE_ID_ANY).then_some(id)
}

/// No lcore has or had this id or a higher one. The caches of those above in a mempool are empty, and looking at them costs
/// a page of cold memory each.
pub(super) fn lcores() -> u32 {
    LCORES.load(Ordering::Relaxed)
}

/// Keeps the calling thread on `cpu` from now on.
///
/// # Errors
/// [`LcoreError::NoSuchCpu`] or [`LcoreError::Refused`], both with the CPUs there are.
pub fn pin_current_thread(cpu: usize) -> Result<(), LcoreError> {
    let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default().trim().to_owned();
    // An empty list means that the kernel hides it; then its own answer decides.
    if !online.is_empty() && !list_contains(&online, cpu) {
        return Err(LcoreError::NoSuchCpu { cpu, online });
    }
    if core_affinity::set_for_current(core_affinity::CoreId { id: cpu }) {
        Ok(())
    } else {
        Err(LcoreError::Refused { cpu, online })
    }
}

/// Whether a CPU list as the kernel writes it, such as `0-3,8`, contains `cpu`.
pub(super) fn list_contains(list: &str, cpu: usize) -> bool {
    list.split(',').any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        matches!((first.parse::<usize>(), last.parse::<usize>()), (Ok(first), Ok(last)) if (first..=last).contains(&cpu))
    })
}

/// The CPUs the calling thread may run on, as the kernel lists them: `0-3,8`.
pub(super) fn allowed_cpus() -> Option<String> {
    let status = fs::read_to_string("/proc/thread-self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).map(|list| list.trim().to_owned())
}

/// The time stamp counter, in cycles of [`tsc_hz`].
#[inline]
#[must_use]
pub fn tsc() -> u64 {
    // SAFETY: reads a counter of the CPU.
    unsafe { dpdk_sys::bl_rdtsc() }
}

/// Cycles per second of [`tsc`]. Zero before [`Eal::init`].
#[must_use]
pub fn tsc_hz() -> u64 {
    // SAFETY: reads an integer that the EAL sets once, when it is initialised.
    unsafe { dpdk_sys::rte_get_tsc_hz() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists_are_read_as_the_kernel_writes_them() {
        for (list, cpu, contained) in
            [("0-3,8", 2, true), ("0-3,8", 8, true), ("0-3,8", 4, false), ("5", 5, true), ("", 0, false)]
        {
            assert_eq!(list_contains(list, cpu), contained, "{cpu} in {list:?}");
        }
    }

    #[test]
    fn a_missing_cpu_is_named_together_with_those_there_are() {
        let error = pin_current_thread(100_000).expect_err("no machine has so many CPUs").to_string();
        assert!(
            error.contains("CPU 100000 does not exist") && error.contains("this machine has CPUs 0"),
            "{error}"
        );
    }
}
