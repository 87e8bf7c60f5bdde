//! The relay as an operator sees it: a configuration file, a process, a log, twins.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::daemon::{directory, write};
use super::{Cmd, Counters, Daemon, LabError, Namespace, PATIENCE, TestResult};

/// Which DPDK driver sits on the veth ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// Takes the frames away from the kernel; one queue; frames up to about 1,700 bytes.
    AfXdp,
    /// Copies them; any number of queues, any size; never sees an IPv4 fragment, because the driver asks the kernel
    /// to reassemble them.
    AfPacket {
        /// Queue pairs, one for each worker.
        queues: u32,
    },
    /// The same with one queue, and room for frames of 9,000 bytes.
    AfPacketJumbo,
}

/// What the relay logs once its workers have their first snapshot.
const READY: &str = "translating";
/// What one that stands by logs when it has prepared everything.
const PREPARED: &str = "ready to take over";
/// Its configuration, in a directory of its own.
const FILE: &str = "borderline.toml";

/// One port of the relay.
#[derive(Debug, Clone)]
pub struct Port {
    /// Its name; the twin is `bl-<name>`.
    pub name: String,
    /// The veth end the driver opens.
    pub interface: String,
    /// Its MTU.
    pub mtu: u32,
}

/// What goes into the configuration file.
#[derive(Debug, Clone)]
pub struct Config {
    /// Driver of every port.
    pub driver: Driver,
    /// CPUs of the workers.
    pub workers: Vec<u32>,
    /// Ports.
    pub ports: Vec<Port>,
    /// Translation prefix.
    pub prefix: String,
    /// Further lines of the section `[translation]`.
    pub translation: String,
    /// Mappings, IPv4 and IPv6.
    pub eams: Vec<(String, String)>,
}

impl Config {
    /// The file.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = format!(
            "[dpdk]\nworkers = {:?}\nmemory = \"no-huge\"\nmemory_mb = 256\npoll = \"adaptive\"\n\n",
            self.workers
        );
        for (number, port) in self.ports.iter().enumerate() {
            let (name, mtu, device) = (&port.name, port.mtu, self.device(number, port));
            write!(text, "[[port]]\nname = \"{name}\"\ndevice = \"{device}\"\nmtu = {mtu}\n\n").ok();
        }
        write!(
            text,
            "[translation]\nprefixes = [\"{}\"]\nservice_pools = [\"192.0.2.0/24\"]\n\
             icmp_source_pool = [\"198.51.100.1/32\"]\n{}\n",
            self.prefix, self.translation
        )
        .ok();
        for (ipv4, ipv6) in &self.eams {
            write!(text, "\n[[eam]]\nipv4 = \"{ipv4}\"\nipv6 = \"{ipv6}\"\n").ok();
        }
        text
    }

    fn device(&self, number: usize, port: &Port) -> String {
        let interface = &port.interface;
        match self.driver {
            Driver::AfXdp => format!("net_af_xdp{number},iface={interface}"),
            Driver::AfPacket { queues } => {
                format!("net_af_packet{number},iface={interface},qpairs={queues}")
            }
            // A frame has to fit into a buffer made for the MTU, and a block has to be whole pages.
            Driver::AfPacketJumbo => {
                format!("net_af_packet{number},iface={interface},blocksz=36864,framesz=9216,framecnt=512")
            }
        }
    }
}

/// Where the relay's binary is: `BORDERLINE_BIN`, or what cargo built last in the workspace.
#[must_use]
pub fn binary() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("BORDERLINE_BIN") {
        return Some(PathBuf::from(path)).filter(|path| path.is_file());
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    ["release", "debug"].iter().map(|kind| target.join(kind).join("borderline")).find(|path| path.is_file())
}

/// Where `borderctl` is: beside the relay.
#[must_use]
pub fn borderctl() -> Option<PathBuf> {
    binary().map(|relay| relay.with_file_name("borderctl")).filter(|path| path.is_file())
}

/// A running relay; dropping it ends it.
#[derive(Debug)]
pub struct Relay {
    daemon: Daemon,
}

impl Relay {
    /// Starts the relay in a namespace and waits until its twins are there and its workers translate.
    ///
    /// # Errors
    /// When it ends, or is not ready within 25 seconds.
    pub fn start(namespace: &Namespace, config: &Config) -> Result<Self, LabError> {
        let ports: Vec<&str> = config.ports.iter().map(|port| port.name.as_str()).collect();
        Self::start_with(namespace, &config.to_toml(), &ports)
    }

    /// The same with the text of a configuration, in which `ports` are the names of all ports.
    ///
    /// # Errors
    /// As [`Relay::start`].
    pub fn start_with(namespace: &Namespace, config: &str, ports: &[&str]) -> Result<Self, LabError> {
        let binary =
            binary().ok_or_else(|| LabError::Relay { what: "is not built".into(), log: String::new() })?;
        Self::run(&binary, namespace, config, ports)
    }

    /// The same for some binary.
    ///
    /// # Errors
    /// As [`Relay::start`].
    pub fn run(binary: &Path, namespace: &Namespace, toml: &str, ports: &[&str]) -> Result<Self, LabError> {
        let mut daemon = Self::spawn(binary, namespace, toml, "")?;
        let twins: Vec<String> = ports.iter().map(|port| format!("bl-{port}")).collect();
        daemon.wait_for("twins", |_| twins.iter().all(|twin| namespace.has_link(twin)))?;
        daemon.wait_for(READY, |daemon| daemon.log().contains(READY))?;
        Ok(Self { daemon })
    }

    /// Starts a relay that stands by for the one with the same ports, and waits until it has everything prepared.
    ///
    /// # Errors
    /// When it ends, or is not ready within 25 seconds.
    pub fn stand_by(namespace: &Namespace, toml: &str) -> Result<Self, LabError> {
        let binary =
            binary().ok_or_else(|| LabError::Relay { what: "is not built".into(), log: String::new() })?;
        Self::stand_by_as(&binary, namespace, toml)
    }

    /// The same for some binary.
    ///
    /// # Errors
    /// As [`Relay::stand_by`].
    pub fn stand_by_as(binary: &Path, namespace: &Namespace, toml: &str) -> Result<Self, LabError> {
        let mut daemon = Self::spawn(binary, namespace, toml, "--standby")?;
        daemon.wait_for(PREPARED, |daemon| daemon.log().contains(PREPARED))?;
        Ok(Self { daemon })
    }

    /// Waits until one that stood by translates.
    ///
    /// # Errors
    /// When it does not within [`PATIENCE`].
    pub fn has_taken_over(&mut self) -> TestResult {
        self.daemon.wait_for(READY, |daemon| daemon.log().contains(READY))
    }

    fn spawn(binary: &Path, namespace: &Namespace, toml: &str, how: &str) -> Result<Daemon, LabError> {
        let directory = directory()?;
        let file = write(directory.path().join(FILE), toml)?;
        let command = namespace
            .cmd(&binary.display().to_string())
            .args("run --log-format text")
            .args(how)
            .arg("--config")
            .arg(file.display().to_string());
        Daemon::start("borderline", &command, directory)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// Where its log is.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.daemon.log_path()
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Replaces its configuration file; it does not look at it before it is told to.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn rewrite(&self, toml: &str) -> TestResult {
        self.write(FILE, toml)
    }

    /// Writes a file beside its configuration file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, name: &str, text: &str) -> TestResult {
        write(self.daemon.path().join(name), text).map(drop)
    }

    /// Makes it read its configuration again; what it logged meanwhile, to the line with the outcome.
    ///
    /// # Errors
    /// When there is none within 30 seconds.
    pub fn reload(&mut self) -> Result<String, LabError> {
        let before = self.log().len();
        self.daemon.signal(Signal::SIGHUP);
        let new = |daemon: &Daemon| daemon.log().get(before..).unwrap_or_default().to_owned();
        self.daemon.wait_for("reload", |daemon| {
            let log = new(daemon);
            log.ends_with('\n') && log.contains("reloaded")
        })?;
        Ok(new(&self.daemon))
    }

    /// Gives it the processors before others, for tests that measure under load: workers have a processor of their
    /// own on a real box, but not here.
    ///
    /// # Errors
    /// When that is not allowed.
    pub fn prefer(&self) -> TestResult {
        let threads = format!("renice -n -15 -p $(ls /proc/{}/task)", self.daemon.pid());
        Cmd::new("sh").arg("-c").arg(threads).ok().map(drop)
    }

    /// Sends it a signal.
    pub fn signal(&mut self, signal: Signal) {
        self.daemon.signal(signal);
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.daemon.ended().is_none()
    }

    /// Asks for a report and waits for it.
    ///
    /// # Errors
    /// When the relay is gone or does not answer within [`PATIENCE`].
    pub fn counters(&mut self) -> Result<Counters, LabError> {
        let before = Counters::reports_in(&self.log());
        self.daemon.signal(Signal::SIGUSR1);
        self.daemon.wait_for("counters", |daemon| {
            // A line is a report only once it is complete.
            let log = daemon.log();
            log.ends_with('\n') && Counters::reports_in(&log) > before
        })?;
        self.last_counters()
    }

    /// Asks until two reports a moment apart are the same, so that nothing is on its way any more.
    ///
    /// # Errors
    /// As [`Relay::counters`], or when the traffic never ends.
    pub fn settled_counters(&mut self) -> Result<Counters, LabError> {
        let start = Instant::now();
        let mut last = self.counters()?;
        loop {
            std::thread::sleep(Duration::from_millis(200));
            let next = self.counters()?;
            if next.of_traffic() == last.of_traffic() {
                return Ok(next);
            }
            if start.elapsed() > PATIENCE {
                return Err(self.error("counts packets although nobody sends any"));
            }
            last = next;
        }
    }

    /// Ends it as an operator does; the status and the final counters.
    ///
    /// # Errors
    /// When it is still there after [`PATIENCE`], or prints no counters.
    pub fn stop(self) -> Result<(ExitStatus, Counters), LabError> {
        self.ends_by(Signal::SIGTERM)
    }

    /// The same by another signal.
    ///
    /// # Errors
    /// As [`Relay::stop`].
    pub fn ends_by(mut self, signal: Signal) -> Result<(ExitStatus, Counters), LabError> {
        let status = self.daemon.stop(signal, PATIENCE);
        let status =
            status.ok_or_else(|| self.error(&format!("did not end for {PATIENCE:?} after {signal}")))?;
        Ok((status, self.last_counters()?))
    }

    /// Ends it as a crash does.
    pub fn kill(mut self) {
        self.daemon.stop(Signal::SIGKILL, PATIENCE);
    }

    fn last_counters(&self) -> Result<Counters, LabError> {
        Counters::last_in(&self.log())?.ok_or_else(|| self.error("printed no counters"))
    }

    /// An error that shows the end of the log.
    #[must_use]
    pub fn error(&self, what: &str) -> LabError {
        let log = self.end_of_log();
        LabError::Relay { what: what.into(), log }
    }

    fn end_of_log(&self) -> String {
        let log = self.log();
        let skip = log.lines().count().saturating_sub(40);
        log.lines().skip(skip).collect::<Vec<&str>>().join("\n")
    }
}

/// What a failed test says first is not what the relay saw: show that too.
impl Drop for Relay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.counters().ok();
            eprintln!("the relay's log:\n{}", self.end_of_log());
        }
    }
}
