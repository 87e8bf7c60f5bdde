//! Ports, packet buffers and lcores of DPDK, owned the Rust way.
//!
//! What enters is a device string and a size, what leaves is a [`RxQueue`] and a [`TxQueue`] per worker. This
//! folder knows nothing of translation. It is the only one of the crate with unsafe code, and no raw pointer
//! leaves it.
//!
//! Ownership is a chain, each link keeping the next alive, so nothing can be torn down under somebody's feet:
//!
//! ```text
//! RxQueue, TxQueue ──> port ──> Mempool ──> Eal           Mbuf (8 bytes, holds nothing)
//!      worker's       stop, close  free     cleanup
//! ```
//!
//! An [`Mbuf`] is too small to keep its mempool alive. Instead a mempool that still misses mbufs when its
//! last owner goes is never freed, and the EAL under it is then never cleaned up: a leak at the end of a
//! process instead of a use after free.
//!
//! Order of a start: [`Eal::init`], [`Mempool::create`], [`Port::open`]; then one thread per worker, each
//! calling [`pin_current_thread`] and [`Eal::register_current_thread`] before it polls its queues. A stop is
//! the reverse, by dropping.

mod alarm;
mod device;
mod eal;
mod error;
mod heap;
mod hugepages;
mod lcore;
mod log;
mod mbuf;
mod mempool;
mod port;
mod port_config;
mod port_macs;
mod port_setup;
mod port_state;
mod precheck;
mod queue;
mod xdp;
mod xdp_queue;

pub use alarm::RxAlarm;
pub use eal::{Eal, EalConfig, Memory, check_memory};
pub use error::{EalError, Errno, LcoreError, MempoolError, PortError, Said};
pub use heap::set_up_heap;
pub use lcore::{LcoreGuard, lcore_id, pin_current_thread, tsc, tsc_hz};
pub use log::{LogLevel, LogSink, log_to_stderr};
pub use mbuf::{Checksum, Mbuf, free_burst};
pub use mempool::{DEFAULT_HEADROOM, Mempool, data_room_for_mtu};
pub use port::{Port, QueuePair};
pub use port_config::PortConfig;
pub use port_setup::{find_driver, inspect_device, interface_of, missing_privileges};
pub use port_state::{Link, MacFilter, PortInfo, PortStats, Spread};
pub use queue::{RxQueue, TxQueue};
pub use xdp::xdp_program_name;
pub use xdp_queue::wait_until_free;
