//! Whether a queue of an interface is free for AF_XDP. The kernel lets go of it some hundred milliseconds after its process has
//! ended, and the driver must not be asked before: each try that fails costs it some thousand buffers, which it never gives back.

use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{io, mem, thread};

use super::device::Device;

/// Bytes of a chunk of packet memory, and of all of it.
const CHUNK: u32 = 4096;
const MEMORY: usize = 16 * 4096;
/// Descriptors of each ring.
const RING: u32 = 16;
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(1);
/// How long an interface is given that cannot be asked.
const BLIND: Duration = Duration::from_millis(300);

/// Waits until nobody has the queue that `device` uses, or `patience` is over. Only AF_XDP has such queues.
pub fn wait_until_free(device: &str, patience: Duration) {
    let Some(parsed) = Device::parse(device).filter(|parsed| parsed.driver() == Some("net_af_xdp")) else {
        return;
    };
    let Some(interface) = parsed.argument("iface") else { return };
    let queue = parsed.argument("start_queue").and_then(|queue| queue.parse().ok()).unwrap_or(0);
    // A driver with zero copy would give the queue to the one who asks, and take as long to take it back.
    if Path::new("/sys/class/net").join(interface).join("device").exists() {
        thread::sleep(BLIND.min(patience));
        return;
    }
    let until = Instant::now() + patience;
    while !patience.is_zero() && is_taken(interface, queue).unwrap_or(false) && Instant::now() < until {
        thread::sleep(LOOK);
    }
}

/// Asks for the queue in a way that a driver without zero copy refuses, but only after the kernel has looked who has it.
fn is_taken(interface: &str, queue: u32) -> io::Result<bool> {
    let name = CString::new(interface)?;
    // SAFETY: `name` ends with a zero and lives until the call returns.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    // SAFETY: takes numbers only.
    let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, and nobody else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut memory = memmap2::MmapMut::map_anon(MEMORY)?;
    // SAFETY: an all-zero value of this struct of integers is valid.
    let mut umem: libc::xdp_umem_reg = unsafe { mem::zeroed() };
    umem.addr = memory.as_mut_ptr().expose_provenance() as u64;
    umem.len = MEMORY as u64;
    umem.chunk_size = CHUNK;
    let registered = set(&socket, libc::XDP_UMEM_REG, &umem);
    let rings = [libc::XDP_UMEM_FILL_RING, libc::XDP_UMEM_COMPLETION_RING, libc::XDP_RX_RING];
    let result = registered.and_then(|()| rings.into_iter().try_for_each(|ring| set(&socket, ring, &RING)));
    let bound = result.and_then(|()| bind(&socket, index, queue));
    drop(socket);
    drop(memory);
    match bound {
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(false),
        other => other.map(|()| false),
    }
}

fn set<T>(socket: &OwnedFd, option: libc::c_int, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).expect("a small struct");
    let value = std::ptr::from_ref(value).cast();
    // SAFETY: the kernel reads `length` bytes of `value`, which is as long.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_XDP, option, value, length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn bind(socket: &OwnedFd, index: u32, queue: u32) -> io::Result<()> {
    // SAFETY: an all-zero value of this struct of integers is valid.
    let mut address: libc::sockaddr_xdp = unsafe { mem::zeroed() };
    address.sxdp_family = libc::sa_family_t::try_from(libc::AF_XDP).expect("a small number");
    address.sxdp_flags = libc::XDP_ZEROCOPY;
    address.sxdp_ifindex = index;
    address.sxdp_queue_id = queue;
    let length = libc::socklen_t::try_from(size_of_val(&address)).expect("a small struct");
    // SAFETY: the kernel reads `length` bytes of `address`, which is as long.
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_queue_is_not_waited_for() {
        let start = Instant::now();
        for device in ["0000:3b:00.0", "net_null0", "net_af_packet0,iface=lo", "net_af_xdp0,iface=not-there"]
        {
            wait_until_free(device, Duration::from_secs(60));
        }
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
