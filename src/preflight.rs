//! What must hold before a port is touched: names, interfaces and devices that nobody else has, and descriptors enough.
//!
//! A relay that starts beside another one must not harm it: the driver of AF_XDP takes the other's program from the
//! interface when it fails. So each interface, card and twin is claimed first. A claim is an abstract Unix socket, which
//! belongs to the network namespace as interfaces do, and vanishes with its process.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::time::Duration;

use control::config::{self, Config, Device};
use control::kernel::{InterfaceFactsReader, PREFIX, Twin, unfollowed_rules};
use dataplane::dpdk::{self, interface_of};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::io::unix::AsyncFd;

use crate::handover::{self, Held};
use crate::watchdog;

/// Descriptors of a relay without ports: the log, event queues, netlink, DPDK.
const DESCRIPTORS: u64 = 48;
/// Further ones of each port: its twin, and what drivers open besides their queues.
const DESCRIPTORS_PER_PORT: u64 = 8;
/// Further ones of each queue: AF_XDP has a socket, maps and programs.
const DESCRIPTORS_PER_QUEUE: u64 = 8;
/// The program the AF_XDP driver loads. Without an owner it is left over from a relay that crashed.
const OUR_PROGRAM: &str = "xsk_def_prog";
/// What libxdp puts in front of programs that share an interface.
const DISPATCHER: &str = "xdp_dispatcher";

/// How often a claim is tried whose owner cannot be held on to.
pub(crate) const POLL: Duration = Duration::from_millis(20);
/// The kind of a claim for a twin.
pub(crate) const TWIN: &str = "twin";
/// The interface of announced routes has a twin's name.
pub(crate) const UP: &str = "up";

/// Everything this process has claimed, as long as this lives.
pub(crate) struct Claims(Vec<Claim>);

struct Claim {
    /// The twin it stands for, if it does.
    twin: Option<String>,
    socket: OwnedFd,
}

/// What stands against a start, in a sentence.
#[derive(Debug)]
pub(crate) struct Complaint {
    pub(crate) text: String,
    /// Another relay has it.
    pub(crate) is_taken: bool,
}

impl From<String> for Complaint {
    fn from(text: String) -> Self {
        Self { text, is_taken: false }
    }
}

impl Claims {
    /// The twins' names without their prefix, each with the socket on which one who waits for it may ask.
    pub(crate) fn twins(&self) -> impl Iterator<Item = (&str, &OwnedFd)> {
        self.0.iter().filter_map(|claim| Some((claim.twin.as_deref()?, &claim.socket)))
    }
}

/// Claims everything a configuration names. Twins in `held` exist already, and rightly so.
///
/// # Errors
/// All that stands against it.
pub(crate) fn claim(config: &Config, held: &Held) -> Result<Claims, Vec<Complaint>> {
    let mut claims = Vec::new();
    let mut complaints: Vec<Complaint> = Vec::new();
    let about = |what: String, complaint: Complaint| Complaint {
        text: format!("{what}: {}", complaint.text),
        ..complaint
    };
    complaints.extend(descriptors(config).err().map(Complaint::from));
    let mut named = HashSet::new();
    for port in &config.ports {
        let twice = names_of(port).into_iter().find(|name| !named.insert(name.clone()));
        if let Some((kind, name)) = twice {
            let text = format!("port {}: another port has {kind} {name}: give each its own", port.name);
            complaints.push(text.into());
            continue;
        }
        match claim_port(&port.name, &port.device, held) {
            Ok(claimed) => claims.extend(claimed),
            Err(complaint) => complaints.push(about(format!("port {}", port.name), complaint)),
        }
    }
    if config.announce.is_some() {
        match claim_twin(UP, held) {
            Ok(claimed) => claims.push(claimed),
            Err(complaint) => complaints.push(about("announcing".to_owned(), complaint)),
        }
    }
    if complaints.is_empty() { Ok(Claims(claims)) } else { Err(complaints) }
}

/// Waits until nobody has any of what a configuration names. The kernel says so: it closes a claim with its process, however
/// that ends. `held` is what the owner gives meanwhile. Returns whether there was anybody.
pub(crate) async fn free(config: &Config, held: &RefCell<Held>) -> bool {
    let mut known = None;
    while let Some((kind, name)) = names(config).into_iter().find(|(kind, name)| is_taken(kind, name)) {
        let owner = owner(kind, &name);
        if known.replace(owner) != Some(owner) {
            stand_by(config, kind, &name, owner, held).await;
        }
        // Readable: the other end is gone.
        let claim = hold_on(kind, &name, &held.borrow());
        if let Ok(claim) = claim {
            drop(claim.readable().await);
        }
        // Its queue is full of those who asked who it is, or it lets go of one thing after the other.
        if is_taken(kind, &name) {
            tokio::time::sleep(POLL).await;
        }
    }
    known.is_some()
}

/// Says whom it waits for, and asks that one for its twins.
async fn stand_by(config: &Config, kind: &str, name: &str, owner: Option<u32>, held: &RefCell<Held>) {
    tracing::info!(kind, name, process = owner, "standing by: another relay has it");
    let status = owner.map_or_else(String::new, |pid| format!(" (process {pid})"));
    let status = format!("standing by for another relay{status}");
    watchdog::tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
    let twins = names(config).into_iter().filter(|(kind, _)| *kind == TWIN).map(|(_, name)| name);
    handover::ask(twins.collect(), held).await;
}

/// Everything a configuration names, by kind.
fn names(config: &Config) -> Vec<(&'static str, String)> {
    let mut names: Vec<_> = config.ports.iter().flat_map(names_of).collect();
    names.extend(config.announce.as_ref().map(|_| (TWIN, UP.to_owned())));
    names
}

/// What a port has for itself, by kind.
fn names_of(port: &config::Port) -> Vec<(&'static str, String)> {
    let mut names = vec![(TWIN, port.name.clone())];
    if let Device::Pci(_) = port.device {
        names.push(("card", port.device.name().to_owned()));
    }
    if let Some((interface, _)) = interface_of(port.device.argument()) {
        names.push(("interface", interface.to_owned()));
    }
    names
}

/// A claim is one bound socket: the name is free if we could bind it.
fn is_taken(kind: &str, name: &str) -> bool {
    matches!(bind(kind, name), Err(Errno::ADDRINUSE))
}

/// A connection that ends with the owner of a claim.
fn hold_on(kind: &str, name: &str, held: &Held) -> std::io::Result<AsyncFd<OwnedFd>> {
    match held.connection(name).filter(|_| kind == TWIN) {
        Some(connection) => wait_for(connection.try_clone()?),
        None => wait_for(connect(kind, name)?),
    }
}

/// A connection to the owner of a claim.
pub(crate) fn connect(kind: &str, name: &str) -> std::io::Result<OwnedFd> {
    let socket = socket()?;
    net::connect(&socket, &address(kind, name)?)?;
    Ok(socket)
}

#[allow(
    deprecated,
    reason = "its replacement is unsafe, which this crate forbids; what it asks for holds: an OwnedFd, never replaced"
)]
pub(crate) fn wait_for(socket: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(socket, tokio::io::Interest::READABLE)
}

/// Whatever else a start would find wrong with this machine.
pub(crate) fn inspect(config: &Config, memory: &dpdk::EalConfig) -> Vec<String> {
    let mut complaints = Vec::new();
    complaints.extend(dpdk::check_memory(memory).err().map(|error| error.to_string()));
    complaints.extend(twin_support());
    let twins: Vec<String> = config.ports.iter().map(|port| format!("{PREFIX}{}", port.name)).collect();
    // Kernels without rules have none that would not be followed.
    complaints.extend(unfollowed_rules(&twins).ok().flatten());
    for port in &config.ports {
        let device = port.device.argument();
        if let Err(error) = dpdk::inspect_device(device, port.mtu) {
            complaints.push(format!("port {}: {error}", port.name));
        }
    }
    complaints
}

/// Makes room for the descriptors a relay needs, as far as the system lets it.
fn descriptors(config: &Config) -> Result<(), String> {
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let (ports, workers) = (number(config.ports.len()), number(config.dpdk.workers.len()));
    let each_port = DESCRIPTORS_PER_PORT + DESCRIPTORS_PER_QUEUE.saturating_mul(workers);
    let needed = DESCRIPTORS.saturating_add(ports.saturating_mul(each_port));
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < needed) {
        // As far as it goes.
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        setrlimit(Resource::Nofile, raised).ok();
    }
    match getrlimit(Resource::Nofile).current {
        Some(allowed) if allowed < needed => Err(format!(
            "this process may open {allowed} files, and may need {needed} for {ports} ports and {workers} workers: \
             raise the limit (`ulimit -n {needed}`, or LimitNOFILE={needed} in the systemd unit)"
        )),
        _ => Ok(()),
    }
}

fn claim_port(name: &str, device: &Device, held: &Held) -> Result<Vec<Claim>, Complaint> {
    let device_text = device.argument();
    if let Some(needs) = dpdk::missing_privileges(device_text) {
        return Err(format!("not permitted to open device {device_text}: {needs}").into());
    }
    let mut claims = vec![claim_twin(name, held)?];
    let other = |socket| Claim { twin: None, socket };
    if let Device::Pci(_) = device {
        claims.push(other(claim_name("card", device.name())?));
    }
    if let Some((interface, is_xdp)) = interface_of(device_text) {
        claims.push(other(claim_name("interface", interface)?));
        if is_xdp {
            no_strange_program(interface)?;
        }
    }
    Ok(claims)
}

fn claim_twin(name: &str, held: &Held) -> Result<Claim, Complaint> {
    if !held.has(name) {
        Twin::check_name(name).map_err(|error| error.to_string())?;
    }
    Ok(Claim { twin: Some(name.to_owned()), socket: claim_name(TWIN, name)? })
}

/// An abstract socket under the name of a thing.
fn claim_name(kind: &str, name: &str) -> Result<OwnedFd, Complaint> {
    let claimed = bind(kind, name);
    match claimed {
        Ok(socket) => Ok(socket),
        Err(Errno::ADDRINUSE) => Err(Complaint {
            text: format!(
                "{kind} {name} is in use by another borderline{}: stop that one, or give this one another {kind}",
                owner(kind, name).map(|pid| format!(" (process {pid})")).unwrap_or_default()
            ),
            is_taken: true,
        }),
        Err(error) => Err(format!("{kind} {name} cannot be claimed: {error}").into()),
    }
}

fn address(kind: &str, name: &str) -> Result<SocketAddrUnix, Errno> {
    SocketAddrUnix::new_abstract_name(format!("borderline/{kind}/{name}").as_bytes())
}

fn socket() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

fn bind(kind: &str, name: &str) -> Result<OwnedFd, Errno> {
    let socket = socket()?;
    net::bind(&socket, &address(kind, name)?)?;
    // Whoever connects learns the owner's process id, also where nobody is ever accepted.
    net::listen(&socket, 1)?;
    Ok(socket)
}

fn owner(kind: &str, name: &str) -> Option<u32> {
    let socket = socket().ok()?;
    net::connect(&socket, &address(kind, name).ok()?).ok()?;
    sockopt::socket_peercred(&socket).ok()?.pid.as_raw_nonzero().get().try_into().ok()
}

/// Refuses an interface with an XDP program that somebody else put there: the driver would remove it.
fn no_strange_program(interface: &str) -> Result<(), String> {
    let facts = InterfaceFactsReader::new().and_then(|reader| reader.read(interface));
    // An interface that is not there is told of when the port is opened.
    let Ok(Some(id)) = facts.map(|facts| facts.and_then(|facts| facts.xdp_program)) else {
        return Ok(());
    };
    let name = dpdk::xdp_program_name(id).unwrap_or_default();
    let what = format!("interface {interface} carries XDP program {id} ({name})");
    if let Some((pid, program)) = holder(id) {
        return Err(format!(
            "{what} of process {pid} ({program}), which would lose its packets: stop that process, or use another \
             interface"
        ));
    }
    if [OUR_PROGRAM, DISPATCHER, ""].contains(&name.as_str()) {
        return Ok(());
    }
    Err(format!(
        "{what}, which would be lost: remove it with `ip link set dev {interface} xdp off`, or use another interface"
    ))
}

/// A living process that has a BPF program open.
fn holder(program: u32) -> Option<(u32, String)> {
    let wanted = format!("prog_id:\t{program}");
    let own = std::process::id();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.find(|pid| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
        *pid != own
            && descriptors.map(|entry| entry.path()).any(|path| {
                fs::read_to_string(path).is_ok_and(|info| info.lines().any(|line| line == wanted))
            })
    })?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some((pid, name.trim().to_owned()))
}

/// Whether TAP interfaces can be made.
fn twin_support() -> Option<String> {
    let opened = fs::File::options().read(true).write(true).open("/dev/net/tun");
    let error = opened.err()?;
    Some(format!(
        "/dev/net/tun cannot be opened: {error}; load the module (`modprobe tun`), give the container the device, or run \
         as root"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: &str) -> Config {
        let text = format!(
            "[dpdk]\nworkers = [0]\n[[port]]\nname = \"{name}\"\ndevice = \"net_null0\"\n\
             [translation]\nprefixes = [\"2001:db8:46::/96\"]\n"
        );
        Config::parse(std::path::Path::new("relay.toml"), &text).expect("a good file").0
    }

    #[test]
    fn whoever_stands_by_goes_on_when_the_owner_of_the_last_claim_is_gone() {
        let config = config(&format!("s{}", std::process::id() % 1_000_000));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let within = |time| {
            runtime.block_on(async {
                tokio::time::timeout(time, free(&config, &RefCell::default())).await.is_ok()
            })
        };
        assert!(within(Duration::from_secs(20)), "nobody has it");
        let claimed = claim_name(TWIN, &config.ports[0].name).unwrap();
        assert!(!within(Duration::from_millis(300)), "somebody has it");
        let ends = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            drop(claimed);
        });
        assert!(within(Duration::from_secs(20)), "and is gone");
        ends.join().unwrap();
        // Those who asked before have filled the queue.
        let claimed = claim_name(TWIN, &config.ports[0].name).unwrap();
        let asked: Vec<_> = (0..5).map(|_| owner(TWIN, &config.ports[0].name)).collect();
        assert_eq!(asked[0], Some(std::process::id()));
        assert!(!within(Duration::from_millis(300)));
        drop(claimed);
        assert!(within(Duration::from_secs(20)));
    }

    #[test]
    fn what_is_claimed_is_refused_to_others_with_the_owner_and_free_afterwards() {
        let name = format!("test-{}", std::process::id());
        let claimed = claim_name("interface", &name).unwrap();
        let refused = claim_name("interface", &name).unwrap_err();
        assert!(refused.is_taken);
        let refused = refused.text;
        let pid = format!("(process {})", std::process::id());
        assert!(refused.contains("in use by another borderline") && refused.contains(&pid), "{refused}");
        assert!(claim_name(TWIN, &name).is_ok(), "another kind");
        drop(claimed);
        assert!(claim_name("interface", &name).is_ok());
    }

    /// Two that start at once both saw nobody: the slower one has to know that it may stand by.
    #[test]
    fn a_claim_that_another_was_faster_with_says_so() {
        let config = config(&format!("f{}", std::process::id() % 1_000_000));
        let faster = claim_name(TWIN, &config.ports[0].name).unwrap();
        let refused = claim(&config, &Held::default()).err().unwrap_or_default();
        assert!(refused.iter().any(|complaint| complaint.is_taken), "{refused:?}");
        assert!(refused[0].text.starts_with("port f"), "{refused:?}");
        drop(faster);
        let refused = claim(&config, &Held::default()).err().unwrap_or_default();
        assert!(!refused.iter().any(|complaint| complaint.is_taken), "{refused:?}");
    }

    #[test]
    fn two_ports_on_one_interface_are_nobody_elses_fault() {
        let text = "[dpdk]\nworkers = [0]\n[[port]]\nname = \"a\"\ndevice = \"net_af_packet0,iface=lo\"\n\
                    [[port]]\nname = \"b\"\ndevice = \"net_af_packet1,iface=lo\"\n\
                    [translation]\nprefixes = [\"2001:db8:46::/96\"]\n";
        let (config, _) = Config::parse(std::path::Path::new("relay.toml"), text).expect("a good file");
        let refused = claim(&config, &Held::default()).err().unwrap_or_default();
        let texts: Vec<&str> = refused.iter().map(|complaint| complaint.text.as_str()).collect();
        assert_eq!(texts, ["port b: another port has interface lo: give each its own"]);
        assert!(!refused[0].is_taken, "waiting would not help");
    }

    #[test]
    fn programs_nobody_has_open_have_no_holder() {
        assert_eq!(holder(u32::MAX), None);
    }
}
