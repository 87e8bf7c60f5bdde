//! The clock of all benchmarks: the processor's time stamp counter, or nanoseconds in a build without DPDK.

/// What [`now`] counts.
#[cfg(feature = "dpdk")]
pub(crate) const TICKS: &str = "cycles";
/// What [`now`] counts.
#[cfg(not(feature = "dpdk"))]
pub(crate) const TICKS: &str = "ns";

/// The time.
#[cfg(feature = "dpdk")]
pub(crate) fn now() -> u64 {
    dataplane::dpdk::tsc()
}

/// The time.
#[cfg(not(feature = "dpdk"))]
pub(crate) fn now() -> u64 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed().as_nanos() as u64
}
