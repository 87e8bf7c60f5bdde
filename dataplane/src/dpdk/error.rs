//! What can go wrong when the DPDK layer is set up. Each message names the object and the remedy.

use std::fmt;
use std::io;

use super::log;

/// An error number as DPDK and the kernel give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(i32);

impl Errno {
    pub(super) const EPERM: Self = Self(1);
    pub(super) const EACCES: Self = Self(13);
    pub(super) const EFAULT: Self = Self(14);
    pub(super) const ENOMEM: Self = Self(12);
    pub(super) const EINVAL: Self = Self(22);
    pub(super) const ENOBUFS: Self = Self(105);
    pub(super) const ENOTSUP: Self = Self(95);

    /// The error of a call that returns zero or more when it succeeds, and the negated number when it fails.
    pub(super) fn check(result: i32) -> Result<i32, Self> {
        if result < 0 { Err(Self(result.saturating_neg())) } else { Ok(result) }
    }

    /// The error of the DPDK call this thread made last (`rte_errno`).
    pub(super) fn last() -> Self {
        // SAFETY: reads a thread-local integer; it exists whether or not the EAL is initialised.
        Self(unsafe { dpdk_sys::bl_errno() })
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            // Many drivers return a plain -1, which reads as EPERM and means nothing: the log lines say more.
            Self::EPERM => f.write_str("the driver gives up"),
            Self(number) => io::Error::from_raw_os_error(number).fmt(f),
        }
    }
}

/// The error lines DPDK logged during the failed operation; empty when it said nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said(String);

impl Said {
    /// Runs `operation` and keeps what DPDK complained about meanwhile, on this thread.
    pub(super) fn during<T>(operation: impl FnOnce() -> T) -> (T, Self) {
        log::forget_errors();
        let result = operation();
        (result, Self(log::errors().join("; ")))
    }

    /// The lines themselves, joined with `"; "`.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " (DPDK says: {})", self.0) }
    }
}

/// The environment of DPDK (EAL) could not be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EalError {
    /// A second [`super::Eal::init`] in one process, or one after a failed one.
    #[error("DPDK was already initialised in this process, which can be done once only: restart the process")]
    AlreadyInitialised,
    /// The kernel has no hugepages at all.
    #[error(
        "no hugepages are reserved: run `sysctl vm.nr_hugepages=512` or set memory = \"no-huge\" in [dpdk]"
    )]
    NoHugepages,
    /// There are hugepages, but not enough of them are free.
    #[error(
        "hugepages have {free_mb} MB free, {wanted_mb} MB are wanted: stop whoever holds the others, raise vm.nr_hugepages, \
         lower memory_mb or set memory = \"no-huge\" in [dpdk]"
    )]
    TooFewHugepages {
        /// Free hugepage memory in MB.
        free_mb: u64,
        /// `memory_mb` in MB.
        wanted_mb: u64,
    },
    /// Ordinary memory would not suffice. Without this check the kernel would end some process instead.
    #[error("{free_mb} MB of memory are free, {wanted_mb} MB are wanted: lower memory_mb in [dpdk]")]
    TooLittleMemory {
        /// Memory the kernel can free, in MB.
        free_mb: u64,
        /// `memory_mb` in MB.
        wanted_mb: u64,
    },
    /// A control CPU that this machine does not have or this process may not use.
    #[error(
        "CPU {cpu} cannot be used, this process may run on CPUs {available}: correct the CPU list or the cpuset of the service"
    )]
    NoSuchCpu {
        /// The CPU asked for.
        cpu: usize,
        /// The list of those that can be used, as the kernel writes it.
        available: String,
    },
    /// `extra_args` holds something that cannot be passed on.
    #[error("the argument {argument:?} contains a NUL byte: correct extra_args in [dpdk]")]
    Argument {
        /// The argument.
        argument: String,
    },
    /// EAL does not accept its arguments.
    #[error("DPDK refuses the arguments `{arguments}`: correct extra_args in [dpdk]{said}")]
    Refused {
        /// All arguments, joined by spaces.
        arguments: String,
        /// What DPDK logged.
        said: Said,
    },
    /// EAL lacks the rights for its memory or devices.
    #[error(
        "DPDK lacks privileges: run as root, or give the service CAP_IPC_LOCK and access to /dev/vfio{said}"
    )]
    Privileges {
        /// What DPDK logged.
        said: Said,
    },
    /// The memory could not be had.
    #[error("DPDK cannot get {wanted_mb} MB of memory: lower memory_mb in [dpdk] or free memory{said}")]
    NoMemory {
        /// `memory_mb` in MB.
        wanted_mb: u64,
        /// What DPDK logged.
        said: Said,
    },
    /// Anything else EAL ends with.
    #[error("DPDK cannot be initialised: {errno}{said}")]
    Failed {
        /// Its error number.
        errno: Errno,
        /// What DPDK logged.
        said: Said,
    },
    /// The log stream could not be redirected.
    #[error("the log of DPDK cannot be captured: {0}")]
    Log(Errno),
}

/// A mempool could not be created.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MempoolError {
    /// The name is empty, too long or holds a NUL byte.
    #[error("mempool name {name:?} is not usable: give 1 to {longest} bytes without NUL")]
    Name {
        /// The name.
        name: String,
        /// Bytes it may have.
        longest: usize,
    },
    /// The headroom would not fit.
    #[error(
        "mempool {name}: a data room of {data_room} bytes has no place for a frame, give at least {lowest}"
    )]
    DataRoom {
        /// The mempool.
        name: String,
        /// Bytes asked for.
        data_room: u16,
        /// Bytes needed at least.
        lowest: u16,
    },
    /// Count and cache do not fit together.
    #[error(
        "mempool {name}: a cache of {cache} mbufs per lcore does not fit {count} mbufs, give at most {largest}"
    )]
    Cache {
        /// The mempool.
        name: String,
        /// Mbufs per lcore asked for.
        cache: u32,
        /// Mbufs in the mempool.
        count: u32,
        /// The largest cache this count allows.
        largest: u32,
    },
    /// The memory of the EAL does not hold it.
    #[error(
        "mempool {name} of {count} mbufs needs about {needed_mb} MB, more than DPDK has left: raise memory_mb in [dpdk]{said}"
    )]
    NoMemory {
        /// The mempool.
        name: String,
        /// Mbufs in the mempool.
        count: u32,
        /// A lower bound of the memory needed, in MB.
        needed_mb: u64,
        /// What DPDK logged.
        said: Said,
    },
    /// Anything else, a second mempool of one name among them.
    #[error("mempool {name} cannot be created: {errno}{said}")]
    Failed {
        /// The mempool.
        name: String,
        /// DPDK's error number.
        errno: Errno,
        /// What DPDK logged.
        said: Said,
    },
}

/// A thread could not become an lcore.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LcoreError {
    /// The CPU does not exist or is offline.
    #[error(
        "CPU {cpu} does not exist or is offline, this machine has CPUs {online}: correct workers in [dpdk]"
    )]
    NoSuchCpu {
        /// The CPU asked for.
        cpu: usize,
        /// The online CPUs, as the kernel lists them.
        online: String,
    },
    /// The CPU exists, and the kernel does not let this process use it.
    #[error(
        "CPU {cpu} is refused by the kernel: the cpuset of this service or container excludes it (online are {online})"
    )]
    Refused {
        /// The CPU asked for.
        cpu: usize,
        /// The online CPUs, as the kernel lists them.
        online: String,
    },
    /// The thread already is one.
    #[error(
        "this thread already is lcore {0}: register a thread once, and not the one that initialised DPDK"
    )]
    AlreadyRegistered(u32),
    /// DPDK has no lcore id left.
    #[error("DPDK refuses another lcore, it has at most {most}: {errno}")]
    Full {
        /// The limit of this DPDK build.
        most: u32,
        /// DPDK's error number.
        errno: Errno,
    },
}

/// A port could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// The device string is not one.
    #[error(
        "{device:?} is not a device: give a PCI address such as 0000:3b:00.0 or a vdev such as net_af_xdp0,iface=eth0"
    )]
    Device {
        /// The device string.
        device: String,
    },
    /// No PCI card there.
    #[error(
        "device {device}: there is no PCI card at this address, `dpdk-devbind.py --status-dev net` lists those there are"
    )]
    NoSuchCard {
        /// The device string.
        device: String,
    },
    /// A PCI card the kernel still owns.
    #[error(
        "device {device} belongs to the kernel driver {driver}: run `dpdk-devbind.py --bind=vfio-pci {device}`"
    )]
    KernelOwned {
        /// The device string.
        device: String,
        /// The kernel's driver.
        driver: String,
    },
    /// A PCI card DPDK found no driver for, or was not told of when it was initialised.
    #[error(
        "device {device}: DPDK has no driver for this card, or it was not among the devices of EalConfig{said}"
    )]
    NotProbed {
        /// The device string.
        device: String,
        /// What DPDK logged.
        said: Said,
    },
    /// The network interface a virtual device shall use is missing.
    #[error("device {device}: there is no network interface {interface} in this network namespace")]
    NoSuchInterface {
        /// The device string.
        device: String,
        /// The interface.
        interface: String,
    },
    /// The driver does not take the device.
    #[error("device {device} cannot be opened: {errno}{said}{hint}")]
    Probe {
        /// The device string.
        device: String,
        /// The driver's error number.
        errno: Errno,
        /// What DPDK logged.
        said: Said,
        /// What is wrong with the device or lacking to the process.
        hint: String,
    },
    /// Arguments the driver does not take, or lacks.
    #[error("device {device} cannot be opened{hint}")]
    Arguments {
        /// The device string.
        device: String,
        /// What is wrong with them.
        hint: String,
    },
    /// A name that belongs to no driver.
    #[error(
        "device {device}: DPDK has no driver of this name: correct it, as in net_af_xdp0, net_af_packet0, net_memif0, net_vhost0 \
         or net_virtio_user0, or install the driver's library{said}"
    )]
    NoDriver {
        /// The device string.
        device: String,
        /// What DPDK logged.
        said: Said,
    },
    /// A directory the device needs.
    #[error("device {device}: there is no directory {directory}: create it, or correct the path")]
    NoSuchDirectory {
        /// The device string.
        device: String,
        /// The directory.
        directory: String,
    },
    /// A file the device reads.
    #[error("device {device}: there is no file {file}: correct the path")]
    NoSuchFile {
        /// The device string.
        device: String,
        /// The file.
        file: String,
    },
    /// The socket of another process.
    #[error("device {device}: another process listens on {path}: end it, or give the device another path")]
    SocketInUse {
        /// The device string.
        device: String,
        /// The socket.
        path: String,
    },
    /// Something else where the socket shall be.
    #[error("device {device}: {path} exists and is no socket: move it away, or give the device another path")]
    NotASocket {
        /// The device string.
        device: String,
        /// The path.
        path: String,
    },
    /// A socket nobody listens on, which cannot be removed.
    #[error("device {device}: the left-over socket {path} cannot be removed ({reason}): remove it")]
    LeftOver {
        /// The device string.
        device: String,
        /// The socket.
        path: String,
        /// What the system said.
        reason: io::ErrorKind,
    },
    /// No peer to connect to.
    #[error("device {device}: nobody listens on {path}: start the other end first, or correct the path")]
    NobodyListens {
        /// The device string.
        device: String,
        /// The socket.
        path: String,
    },
    /// The same device twice.
    #[error("device {device} is already open: name each device in one [[port]] only")]
    AlreadyOpen {
        /// The device string.
        device: String,
    },
    /// No queue, or no mempool for each of them.
    #[error("device {device}: {queues} queues need one mempool, or one each; {mempools} were given")]
    Mempools {
        /// The device string.
        device: String,
        /// Queue pairs asked for.
        queues: u16,
        /// Mempools given.
        mempools: usize,
    },
    /// A frame of the MTU would not fit one mbuf.
    #[error(
        "device {device}: MTU {mtu} needs mbufs with a data room of {wanted} bytes, the mempool has {data_room}"
    )]
    DataRoom {
        /// The device string.
        device: String,
        /// The MTU in bytes.
        mtu: u16,
        /// Bytes needed.
        wanted: u32,
        /// Bytes there are.
        data_room: u16,
    },
    /// More queues than the device has.
    #[error(
        "device {device} has {limit} queue pairs, {wanted} are wanted (one per worker): use fewer workers{hint}"
    )]
    TooManyQueues {
        /// The device string.
        device: String,
        /// Queue pairs asked for.
        wanted: u16,
        /// Queue pairs the device has.
        limit: u16,
        /// What to try, or nothing.
        hint: &'static str,
    },
    /// An interface whose MTU the driver cannot raise.
    #[error(
        "device {device}: its interface has an MTU of {actual} bytes, {mtu} is wanted: run `ip link set {interface} mtu {mtu}`"
    )]
    InterfaceMtu {
        /// The device string.
        device: String,
        /// The interface.
        interface: String,
        /// The MTU wanted, in bytes.
        mtu: u16,
        /// The MTU it has, in bytes.
        actual: u32,
    },
    /// An MTU outside what the driver advertises.
    #[error("device {device} takes an MTU of {lowest} to {highest} bytes, {mtu} is wanted{hint}")]
    Mtu {
        /// The device string.
        device: String,
        /// The MTU in bytes.
        mtu: u16,
        /// Bytes.
        lowest: u16,
        /// Bytes.
        highest: u16,
        /// What to try, or nothing.
        hint: &'static str,
    },
    /// An MTU the driver advertises, and then refuses.
    #[error("device {device} refuses an MTU of {mtu} bytes: {errno}{said}{hint}")]
    MtuRefused {
        /// The device string.
        device: String,
        /// The MTU in bytes.
        mtu: u16,
        /// The driver's error number.
        errno: Errno,
        /// What DPDK logged.
        said: Said,
        /// What to try, or nothing.
        hint: &'static str,
    },
    /// Any other step of the setup.
    #[error("device {device}: {step} failed: {errno}{said}{hint}")]
    Setup {
        /// The device string.
        device: String,
        /// What was being done.
        step: &'static str,
        /// The driver's error number.
        errno: Errno,
        /// What DPDK logged.
        said: Said,
        /// What to try, or nothing.
        hint: &'static str,
    },
}
