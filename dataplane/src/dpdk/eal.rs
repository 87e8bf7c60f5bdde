//! DPDK's environment: its memory, its buses and its log. One per process.

use std::collections::BTreeSet;
use std::ffi::{CString, c_char, c_int};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::device::Device;
use super::error::{EalError, Errno, LcoreError, Said};
use super::lcore::{LcoreGuard, allowed_cpus, list_contains};
use super::log::{self, LogSink};
use super::{hugepages, log_to_stderr};

/// Where packet memory comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Memory {
    /// Hugepages, taken anonymously: no hugetlbfs mount is needed, and nothing stays behind after a crash.
    #[default]
    Hugepages,
    /// Ordinary pages. Slower, no PCI card can use it; for laboratories and tests.
    NoHuge,
}

/// What DPDK is started with.
#[derive(Debug, Clone)]
pub struct EalConfig {
    /// Where packet memory comes from.
    pub memory: Memory,
    /// Packet memory taken at the start, in MB. Hugepages may grow beyond it later, ordinary pages may not.
    pub memory_mb: u32,
    /// CPUs for the calling thread and DPDK's own helper threads. Empty leaves them where they are.
    pub control_cpus: Vec<usize>,
    /// The device strings of all ports. PCI cards must be known at the start and no other card is touched;
    /// virtual devices are made by [`super::Port::open`].
    pub devices: Vec<String>,
    /// Whether DPDK opens its telemetry socket.
    pub telemetry: bool,
    /// Further EAL arguments, after ours.
    pub extra_args: Vec<String>,
    /// Takes DPDK's log, line by line.
    pub log: LogSink,
}

impl Default for EalConfig {
    fn default() -> Self {
        Self {
            memory: Memory::default(),
            memory_mb: 512,
            control_cpus: Vec::new(),
            devices: Vec::new(),
            telemetry: false,
            extra_args: Vec::new(),
            log: log_to_stderr,
        }
    }
}

/// Proof that DPDK is initialised. Clones share it; the last one, held here or by a mempool, port or lcore,
/// cleans up.
#[derive(Debug, Clone)]
pub struct Eal(Arc<EalInner>);

#[derive(Debug)]
struct EalInner {
    memory: Memory,
    /// Ports that are open, by DPDK's number. Its lock also serialises all changes to DPDK's device list.
    ports: Mutex<BTreeSet<u16>>,
    /// Set when somebody may still touch DPDK memory at the end: then it must stay.
    abandoned: AtomicBool,
}

static STARTED: AtomicBool = AtomicBool::new(false);

impl Eal {
    /// Initialises DPDK. The calling thread becomes its main lcore and keeps its CPUs, unless `control_cpus`
    /// names others.
    ///
    /// # Errors
    /// See [`EalError`]. Missing hugepages and wrong CPUs are found before DPDK is touched, so the call can
    /// be repeated after them; after any other failure it cannot.
    pub fn init(config: &EalConfig) -> Result<Self, EalError> {
        check_memory(config)?;
        check_cpus(&config.control_cpus)?;
        let arguments = arguments(config, allowed_cpus().as_deref());
        let c_arguments = c_strings(&arguments)?;
        if STARTED.swap(true, Ordering::Relaxed) {
            return Err(EalError::AlreadyInitialised);
        }
        log::capture(config.log)?;
        let (result, said) = Said::during(|| initialise(c_arguments));
        match result {
            Ok(()) => Ok(Self(Arc::new(EalInner {
                memory: config.memory,
                ports: Mutex::default(),
                abandoned: AtomicBool::new(false),
            }))),
            Err(errno) => Err(explain(config, &arguments, errno, said)),
        }
    }

    /// Makes the calling thread an lcore, which gives it a cache in each mempool. Pin the thread first.
    ///
    /// # Errors
    /// [`LcoreError::AlreadyRegistered`] also for the thread that initialised DPDK, or [`LcoreError::Full`].
    pub fn register_current_thread(&self) -> Result<LcoreGuard, LcoreError> {
        LcoreGuard::register(self)
    }

    /// Where packet memory comes from.
    pub(super) fn memory(&self) -> Memory {
        self.0.memory
    }

    /// The open ports. Whoever changes DPDK's device list holds this lock.
    pub(super) fn ports(&self) -> MutexGuard<'_, BTreeSet<u16>> {
        self.0.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves DPDK's memory in place when the process ends: somebody may still use it.
    pub(super) fn abandon(&self) {
        self.0.abandoned.store(true, Ordering::Relaxed);
    }
}

impl Drop for EalInner {
    fn drop(&mut self) {
        if !*self.abandoned.get_mut() {
            // SAFETY: every port, mempool and lcore holds a clone of the Eal, so all of them are gone, and
            // with the mempools every mbuf: a mempool that missed one has set `abandoned`.
            unsafe { dpdk_sys::rte_eal_cleanup() };
        }
    }
}

/// Whether the memory a configuration asks for is there, without starting DPDK.
///
/// # Errors
/// [`EalError`] says what is missing and how to get it.
pub fn check_memory(config: &EalConfig) -> Result<(), EalError> {
    let wanted_mb = u64::from(config.memory_mb);
    if config.memory == Memory::NoHuge {
        return match available_memory_mb() {
            Some(free_mb) if free_mb < wanted_mb => Err(EalError::TooLittleMemory { free_mb, wanted_mb }),
            _ => Ok(()),
        };
    }
    let free_mb = hugepages::free_mb();
    if free_mb == 0 && !hugepages::any() {
        Err(EalError::NoHugepages)
    } else if free_mb < wanted_mb {
        Err(EalError::TooFewHugepages { free_mb, wanted_mb })
    } else {
        Ok(())
    }
}

fn available_memory_mb() -> Option<u64> {
    let memory = fs::read_to_string("/proc/meminfo").ok()?;
    let kb =
        memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?.trim().strip_suffix(" kB")?;
    Some(kb.parse::<u64>().ok()? / 1024)
}

fn check_cpus(cpus: &[usize]) -> Result<(), EalError> {
    let Some(available) = allowed_cpus() else {
        return Ok(());
    };
    match cpus.iter().find(|&&cpu| !list_contains(&available, cpu)) {
        Some(&cpu) => Err(EalError::NoSuchCpu { cpu, available }),
        None => Ok(()),
    }
}

/// The command line of EAL. `allowed` are the CPUs the calling thread may use now.
fn arguments(config: &EalConfig, allowed: Option<&str>) -> Vec<String> {
    let mut arguments = vec!["borderline".to_owned()];
    let mut add = |words: &[&str]| arguments.extend(words.iter().map(|&word| word.to_owned()));

    // One lcore for EAL's bookkeeping, allowed on many CPUs: EAL moves the calling thread to the CPUs of its
    // main lcore.
    let own: Vec<String> = config.control_cpus.iter().map(usize::to_string).collect();
    let cpus = if own.is_empty() { allowed.unwrap_or("0").to_owned() } else { own.join(",") };
    add(&["--lcores", &format!("0@({cpus})")]);

    match config.memory {
        Memory::Hugepages => add(&["--in-memory"]),
        // EAL does not take --in-memory with --no-huge; this is the part of it that keeps files out of
        // /var/run/dpdk, so that two relays on one machine cannot meet there.
        Memory::NoHuge => add(&["--no-huge", "--no-shconf"]),
    }
    add(&["-m", &config.memory_mb.to_string()]);

    let members = config.devices.iter().filter_map(|device| Device::parse(device)).flat_map(Device::members);
    let devices: Vec<String> = config.devices.iter().cloned().chain(members).collect();
    let is_card = |device: &&String| matches!(Device::parse(device), Some(Device::Pci(_)));
    let cards: Vec<&String> = devices.iter().filter(is_card).collect();
    for card in &cards {
        add(&["--allow", card]);
    }
    let allows = |argument: &String| argument.starts_with("-a") || argument.starts_with("--allow");
    if cards.is_empty() && !config.extra_args.iter().any(allows) {
        add(&["--no-pci"]);
    }
    if !config.telemetry {
        add(&["--no-telemetry"]);
    }
    arguments.extend(config.extra_args.iter().cloned());
    arguments
}

fn c_strings(arguments: &[String]) -> Result<Vec<CString>, EalError> {
    let c_string = |argument: &String| {
        CString::new(argument.as_str()).map_err(|_| EalError::Argument { argument: argument.clone() })
    };
    arguments.iter().map(c_string).collect()
}

fn initialise(arguments: Vec<CString>) -> Result<(), Errno> {
    // EAL permutes the array and keeps pointers into some strings: both stay for the life of the process.
    let pointers: Vec<*mut c_char> =
        arguments.into_iter().map(CString::into_raw).chain([std::ptr::null_mut()]).collect();
    let pointers = Box::leak(pointers.into_boxed_slice());
    let count = c_int::try_from(pointers.len() - 1).map_err(|_| Errno::EINVAL)?;
    // SAFETY: `pointers` holds `count` NUL-terminated strings and a null pointer, all leaked on purpose,
    // hence writable and valid for ever; `STARTED` lets only one thread come here, once.
    if unsafe { dpdk_sys::rte_eal_init(count, pointers.as_mut_ptr()) } < 0 {
        Err(Errno::last())
    } else {
        Ok(())
    }
}

fn explain(config: &EalConfig, arguments: &[String], errno: Errno, said: Said) -> EalError {
    match errno {
        Errno::EINVAL => EalError::Refused { arguments: arguments.join(" "), said },
        Errno::EACCES | Errno::EPERM => EalError::Privileges { said },
        Errno::ENOMEM => EalError::NoMemory { wanted_mb: u64::from(config.memory_mb), said },
        errno => EalError::Failed { errno, said },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(config: &EalConfig) -> String {
        arguments(config, Some("0-1")).join(" ")
    }

    #[test]
    fn virtual_devices_only_leave_the_pci_bus_alone() {
        let config = EalConfig { devices: vec!["net_null0".to_owned()], ..EalConfig::default() };
        assert_eq!(line(&config), "borderline --lcores 0@(0-1) --in-memory -m 512 --no-pci --no-telemetry");
    }

    #[test]
    fn named_cards_are_the_only_ones_allowed() {
        let config = EalConfig {
            memory: Memory::NoHuge,
            memory_mb: 64,
            control_cpus: vec![0, 3],
            devices: vec!["0000:3b:00.0".to_owned(), "net_null0".to_owned()],
            telemetry: true,
            extra_args: vec!["--log-level=pmd:debug".to_owned()],
            ..EalConfig::default()
        };
        assert_eq!(
            line(&config),
            "borderline --lcores 0@(0,3) --no-huge --no-shconf -m 64 --allow 0000:3b:00.0 --log-level=pmd:debug"
        );
    }

    #[test]
    fn the_cards_of_a_bond_are_allowed() {
        let bond = "net_bonding0,mode=4,slave=0000:3b:00.0,slave=0000:3b:00.1";
        let config = EalConfig { devices: vec![bond.to_owned()], ..EalConfig::default() };
        assert!(line(&config).contains("--allow 0000:3b:00.0 --allow 0000:3b:00.1"), "{}", line(&config));
    }

    #[test]
    fn cards_allowed_by_hand_keep_the_pci_bus() {
        let config = EalConfig { extra_args: vec!["-a3b:00.0".to_owned()], ..EalConfig::default() };
        assert!(!line(&config).contains("--no-pci"));
    }

    #[test]
    fn a_missing_control_cpu_is_named() {
        let error = check_cpus(&[100_000]).expect_err("no machine has so many CPUs").to_string();
        assert!(error.contains("CPU 100000 cannot be used"), "{error}");
    }
}
