//! Network namespaces, the wires between them, and what runs inside.

use std::fs::File;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Cmd, LabError};

/// Every namespace of a lab is named `bl<process id>-<number>-<role>`.
const PREFIX: &str = "bl";

/// A named network namespace, removed on drop.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace whose name no other test uses, with the loopback up and without duplicate address detection
    /// (nothing here is ever a duplicate, and it costs a second per address).
    ///
    /// # Errors
    /// When the namespace cannot be made.
    pub fn new(role: &str) -> Result<Self, LabError> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let namespace = Self { name: format!("{PREFIX}{}-{number}-{role}", std::process::id()) };
        Cmd::new("ip").args("netns add").arg(&namespace.name).ok()?;
        namespace.ip("link set lo up")?;
        namespace.sysctl("net.ipv6.conf.default.accept_dad=0")?;
        namespace.sysctl("net.ipv6.conf.default.dad_transmits=0")?;
        Ok(namespace)
    }

    /// Its name under `ip netns`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it was made as.
    pub(crate) fn role(&self) -> &str {
        let numbered = self.name.strip_prefix(PREFIX).unwrap_or(&self.name);
        numbered.splitn(3, '-').nth(2).unwrap_or(numbered)
    }

    /// A program to be run inside.
    pub fn cmd(&self, program: &str) -> Cmd {
        Cmd::new("ip").args("netns exec").arg(&self.name).arg(program)
    }

    /// A shell line to be run inside.
    pub fn sh(&self, line: &str) -> Cmd {
        self.cmd("bash").arg("-o").arg("pipefail").arg("-c").arg(line)
    }

    /// `ip` inside, for example `ip("addr add 192.0.2.1/24 dev c4")`.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn ip(&self, args: &str) -> Result<String, LabError> {
        Ok(Cmd::new("ip").arg("-n").arg(&self.name).args(args).ok()?.stdout)
    }

    /// Many commands of `ip` at once, one in each line.
    ///
    /// # Errors
    /// When `ip` refuses one of them.
    pub fn ip_lines(&self, lines: &str) -> Result<(), LabError> {
        Cmd::new("ip").arg("-n").arg(&self.name).args("-batch -").input(format!("{lines}\n")).ok().map(drop)
    }

    /// Sets one kernel setting, `key=value`.
    ///
    /// # Errors
    /// When the kernel does not know it.
    pub fn sysctl(&self, setting: &str) -> Result<(), LabError> {
        self.cmd("sysctl").arg("-qw").arg(setting).ok().map(drop)
    }

    /// Whether an interface of that name exists.
    #[must_use]
    pub fn has_link(&self, name: &str) -> bool {
        self.ip(&format!("link show dev {name}")).is_ok()
    }

    /// Forgets all neighbours.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn flush_neighbors(&self) -> Result<(), LabError> {
        self.ip("neigh flush all").map(drop)
    }

    /// Real frames only: checksums computed, no segments larger than the MTU, as from a network card.
    ///
    /// # Errors
    /// When the interface does not exist.
    pub fn plain_frames(&self, interface: &str) -> Result<(), LabError> {
        self.cmd("ethtool")
            .arg("-K")
            .arg(interface)
            .args("tx-checksum-ip-generic off tso off gso off gro off")
            .ok()?;
        Ok(())
    }

    /// Keeps this kernel from hearing or saying anything on an interface that belongs to a DPDK driver.
    ///
    /// The hook lies behind packet sockets and XDP, which therefore still see every frame.
    ///
    /// # Errors
    /// When a setting is refused, or neither nftables nor tc can drop at ingress here.
    pub fn deafen(&self, interface: &str) -> Result<(), LabError> {
        self.sysctl(&format!("net.ipv6.conf.{interface}.disable_ipv6=1"))?;
        self.sysctl(&format!("net.ipv4.conf.{interface}.arp_ignore=8"))?;
        self.sysctl(&format!("net.ipv4.conf.{interface}.rp_filter=1"))?;
        let rules = format!(
            "table netdev deaf {{\n chain {interface} {{\n  type filter hook ingress device {interface} priority -500; \
             policy drop;\n }}\n}}\n"
        );
        if self.cmd("nft").arg("-f").arg("-").input(rules).run().is_ok_and(|output| output.success()) {
            return Ok(());
        }
        let tc = format!(
            "tc qdisc add dev {interface} clsact && tc filter add dev {interface} ingress matchall action drop"
        );
        self.sh(&tc).ok().map(drop)
    }

    /// Starts a thread inside the namespace; sockets it opens belong to the namespace wherever they go afterwards.
    ///
    /// # Panics
    /// The thread panics when the namespace is gone.
    pub fn spawn<T: Send + 'static>(
        &self,
        body: impl FnOnce() -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        let path = format!("/run/netns/{}", self.name);
        thread::spawn(move || {
            let file = File::open(&path).expect("the namespace lives as long as its lab");
            setns(file, CloneFlags::CLONE_NEWNET).expect("root may enter a namespace it made");
            body()
        })
    }

    /// Runs something inside the namespace and waits for it; a panic in there becomes a panic here.
    pub fn enter<T: Send + 'static>(&self, body: impl FnOnce() -> T + Send + 'static) -> T {
        self.spawn(body).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// A wire: interface `a` in one namespace, `b` in the other, both up. The interfaces vanish with either namespace.
///
/// # Errors
/// When the names exist already.
pub fn veth(at_a: &Namespace, a: &str, at_b: &Namespace, b: &str, mtu: u32) -> Result<(), LabError> {
    at_a.ip(&format!("link add {a} mtu {mtu} type veth peer name {b} mtu {mtu} netns {}", at_b.name))?;
    at_a.ip(&format!("link set {a} up"))?;
    at_b.ip(&format!("link set {b} up"))?;
    Ok(())
}

/// What still runs inside is ended first: a namespace lives as long as its last process, with or without a name.
fn remove(name: &str) {
    let pids =
        Cmd::new("ip").args("netns pids").arg(name).ok().map(|output| output.stdout).unwrap_or_default();
    for pid in pids.split_whitespace().filter_map(|pid| pid.parse().ok()) {
        kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
    }
    Cmd::new("ip").args("netns del").arg(name).ok().ok();
}

/// Removes the namespaces of test processes that no longer live.
pub(crate) fn sweep() {
    let Ok(list) = Cmd::new("ip").args("netns list").ok() else {
        return;
    };
    for name in list.stdout.lines().filter_map(|line| line.split_whitespace().next()) {
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()).map(str::parse::<u32>);
        if let Some(Ok(pid)) = pid
            && !std::path::Path::new(&format!("/proc/{pid}")).exists()
        {
            remove(name);
        }
    }
}
