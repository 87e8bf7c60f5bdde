//! Long-running programs: real servers with a configuration of their own in a directory of their own.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::command::{end_group, wait};
use super::{Cmd, LabError, Namespace, PATIENCE, wait_until};

/// A running program; dropping it ends it.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    ended: Option<ExitStatus>,
    directory: TempDir,
}

impl Daemon {
    /// Starts a program whose files are in `directory`, where its log goes too.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &str, command: &Cmd, directory: TempDir) -> Result<Self, LabError> {
        Self::start_reading(name, command, directory, Stdio::null())
    }

    /// The same for a program that reads commands; see [`Daemon::tell`].
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_interactive(name: &str, command: &Cmd, directory: TempDir) -> Result<Self, LabError> {
        Self::start_reading(name, command, directory, Stdio::piped())
    }

    fn start_reading(name: &str, command: &Cmd, directory: TempDir, stdin: Stdio) -> Result<Self, LabError> {
        let child = command.start(&directory.path().join("log"), stdin)?;
        Ok(Self { name: name.into(), child, ended: None, directory })
    }

    /// Writes a line to its standard input. One that has ended hears nothing; that shows elsewhere.
    pub fn tell(&mut self, line: &str) {
        if let Some(stdin) = &mut self.child.stdin {
            writeln!(stdin, "{line}").ok();
        }
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its standard streams go.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.path().join("log")
    }

    /// Everything it wrote to its standard streams so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(self.log_path()).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
    }

    /// How it ended, when it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Sends it a signal.
    pub fn signal(&mut self, signal: Signal) {
        if self.ended().is_none()
            && let Ok(pid) = i32::try_from(self.child.id())
        {
            kill(Pid::from_raw(pid), signal).ok();
        }
    }

    /// Signals it and waits; `None` when it is still running after `patience`.
    pub fn stop(&mut self, signal: Signal, patience: Duration) -> Option<ExitStatus> {
        self.signal(signal);
        self.ended = self.ended.or_else(|| wait(&mut self.child, patience));
        self.ended
    }

    /// Waits until a condition holds while the program runs.
    ///
    /// # Errors
    /// When the program ends first, or it takes longer than [`PATIENCE`].
    pub fn wait_for(&mut self, what: &str, mut ready: impl FnMut(&Self) -> bool) -> Result<(), LabError> {
        let mut is_ready = false;
        wait_until(PATIENCE, || {
            is_ready = ready(self);
            is_ready || self.ended().is_some()
        });
        if is_ready {
            return Ok(());
        }
        if let Some(status) = self.ended() {
            let command = self.name.clone();
            return Err(LabError::Failed { command, status: status.to_string(), output: self.log() });
        }
        let what = format!("{}: {what}", self.name);
        Err(LabError::TooSlow { what, after: PATIENCE, output: self.log() })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.ended().is_none() {
            end_group(&mut self.child, Signal::SIGTERM, Duration::from_secs(3));
        }
    }
}

/// A fresh directory.
pub(crate) fn directory() -> Result<TempDir, LabError> {
    tempfile::Builder::new().prefix("borderline-lab-").tempdir().map_err(LabError::io("temporary directory"))
}

pub(crate) fn write(path: PathBuf, text: &str) -> Result<PathBuf, LabError> {
    fs::write(&path, text).map_err(LabError::io(path.display().to_string()))?;
    Ok(path)
}

/// A web server on `address` (brackets around IPv6), port 80: serves and, by PUT, stores files under `www`; logs the
/// client's address to `access.log`.
///
/// # Errors
/// When it does not come up.
pub fn nginx(namespace: &Namespace, address: &str) -> Result<Daemon, LabError> {
    let directory = directory()?;
    let root = directory.path().to_owned();
    let www = root.join("www");
    fs::create_dir(&www).map_err(LabError::io("www"))?;
    write(www.join("index.html"), "Served by an IPv6-only host.\n")?;
    let text = format!(
        "daemon off; worker_processes 1; user root; pid {root}/pid; error_log stderr warn;\n\
         events {{ worker_connections 64; }}\n\
         http {{\n  access_log {root}/access.log; client_max_body_size 0;\n  \
         client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi;\n  \
         uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;\n  \
         server {{ listen {address}:80; root {www}; dav_methods PUT; }}\n}}\n",
        root = root.display(),
        www = www.display(),
    );
    let file = write(root.join("nginx.conf"), &text)?;
    let command = namespace.cmd("nginx").arg("-e").arg("stderr").arg("-c").arg(file.display().to_string());
    let mut daemon = Daemon::start("nginx", &command, directory)?;
    wait_for_listener(&mut daemon, namespace, "tcp", 80)?;
    Ok(daemon)
}

/// An iperf3 server on all addresses.
///
/// # Errors
/// When it does not come up.
pub fn iperf3(namespace: &Namespace) -> Result<Daemon, LabError> {
    let mut daemon = Daemon::start("iperf3", &namespace.cmd("iperf3").arg("-s"), directory()?)?;
    wait_for_listener(&mut daemon, namespace, "tcp", 5201)?;
    Ok(daemon)
}

/// A DNS server that answers `www.example.net` with `192.0.2.1` and `2001:db8:12:34::1`, and `long.example.net` with
/// 800 bytes of text.
///
/// # Errors
/// When it does not come up.
pub fn dnsmasq(namespace: &Namespace) -> Result<Daemon, LabError> {
    let directory = directory()?;
    let text: Vec<String> = (0..4).map(|i| format!("{i}{}", "x".repeat(199))).collect();
    let conf = format!(
        "no-resolv\nno-hosts\nport=53\nuser=root\npid-file=\nedns-packet-max=1400\n\
         host-record=www.example.net,192.0.2.1,2001:db8:12:34::1\ntxt-record=long.example.net,{}\n",
        text.join(",")
    );
    let file = write(directory.path().join("dnsmasq.conf"), &conf)?;
    let command =
        namespace.cmd("dnsmasq").arg("--keep-in-foreground").arg("-C").arg(file.display().to_string());
    let mut daemon = Daemon::start("dnsmasq", &command, directory)?;
    wait_for_listener(&mut daemon, namespace, "udp", 53)?;
    Ok(daemon)
}

/// A BIRD routing daemon; ask it with [`birdc`](Daemon::birdc).
///
/// # Errors
/// When it does not come up.
pub fn bird(namespace: &Namespace, conf: &str) -> Result<Daemon, LabError> {
    let directory = directory()?;
    let file = write(directory.path().join("bird.conf"), conf)?;
    let socket = directory.path().join("bird.ctl");
    let command = namespace
        .cmd("bird")
        .arg("-f")
        .arg("-c")
        .arg(file.display().to_string())
        .arg("-s")
        .arg(socket.display().to_string());
    let mut daemon = Daemon::start("bird", &command, directory)?;
    daemon.wait_for("control socket", |_| socket.exists())?;
    Ok(daemon)
}

impl Daemon {
    /// Asks a [`bird`] a question.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn birdc(&self, question: &str) -> Result<String, LabError> {
        let socket = self.path().join("bird.ctl").display().to_string();
        Ok(Cmd::new("birdc").arg("-s").arg(socket).args(question).ok()?.stdout)
    }
}

fn wait_for_listener(
    daemon: &mut Daemon,
    namespace: &Namespace,
    transport: &str,
    port: u16,
) -> Result<(), LabError> {
    let list = namespace.cmd("ss").args(if transport == "tcp" { "-Hltn" } else { "-Hlun" });
    let port = format!(":{port} ");
    daemon.wait_for("listening", |_| list.ok().is_ok_and(|output| output.stdout.contains(&port)))
}
