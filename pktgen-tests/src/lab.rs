//! The laboratory: an IPv4-only client, the relay, and an IPv6-only server, each in a namespace of its own.
//!
//! A test asks for a [`Lab`] of some [`Shape`], starts the relay, and talks through it with programs run by
//! [`Namespace::cmd`] or sockets opened under [`Namespace::enter`]. Dropping the lab ends every process by its own
//! process id and removes every namespace, also when the test panics. What an earlier, killed run left behind is
//! swept when the next lab is made. The lab never touches an interface outside the namespaces it made.
//!
//! Traps it takes care of, so that no test has to:
//! - A veth end does not compute checksums and hands over segments of 64 KB: end hosts turn both off
//!   ([`Namespace::plain_frames`]).
//! - The kernel of the relay's namespace sees the frames on the relay's veth ends too, and would answer a second
//!   time: those ends are made deaf ([`Namespace::deafen`]).
//! - The AF_PACKET driver always joins a fanout group that lets the kernel reassemble IPv4 fragments first, so the
//!   relay would never see one: [`Driver::AfXdp`] is the default, [`Driver::AfPacket`] is for two queues and for
//!   frames over 1,700 bytes.

mod command;
mod counters;
mod daemon;
mod error;
mod evidence;
pub mod frame;
mod namespace;
pub mod probe;
mod raw;
mod relay;
mod requirement;
mod topology;

pub use command::{Cmd, Output};
pub use counters::{Counters, Longest, PortCounters, Reloads, WorkerCounters};
pub use daemon::{Daemon, bird, dnsmasq, iperf3, nginx};
pub(crate) use daemon::{directory, write};
pub use error::LabError;
pub(crate) use evidence::Evidence;
pub(crate) use namespace::sweep;
pub use namespace::{Namespace, veth};
pub use raw::RawLink;
pub use relay::{Config, Driver, Port, Relay, binary as relay_binary, borderctl};
pub use requirement::{Need, is_quick, skip_for_kernel, skip_unless};
pub use topology::{CLIENT, Lab, Middle, SERVER, SERVICE, Shape, embedded, traceroute};

/// What a test returns.
pub type TestResult = Result<(), LabError>;

use std::time::{Duration, Instant};

/// How long a test waits for what has no limit of its own. A machine with more to do than it can leaves a thread without a
/// processor for seconds; kernels were seen that did for ten.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until `ready` says yes or the time is over; false when it never did.
pub fn wait_until(patience: Duration, mut ready: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if ready() {
            return true;
        }
        if start.elapsed() >= patience {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
