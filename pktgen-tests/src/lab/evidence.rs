//! What a failed test leaves behind: the last frames of both hosts, the relay's log with its counters, and what the
//! kernels counted.
//!
//! While a laboratory is up, `dumpcap` keeps the last megabyte of each host's frames. A test that ends well throws that
//! away; of one that fails, everything is kept under `target/lab-failures/NAME-OF-THE-TEST`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::daemon::directory;
use super::{Daemon, Namespace};

/// Bytes of each frame that are kept: headers, quoted headers, and the beginning of what they carry.
const SNAPLEN: &str = "192";

/// Captures that run beside a test.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    captures: Vec<(String, Daemon)>,
}

impl Evidence {
    /// Begins to record interfaces. Without `dumpcap` there are no captures, and nothing else is different.
    pub(crate) fn record(hosts: &[(&Namespace, &str)]) -> Self {
        let started = hosts.iter().filter_map(|(namespace, interface)| {
            let directory = directory().ok()?;
            let file = directory.path().join("frames.pcapng").display().to_string();
            let command = namespace
                .cmd("dumpcap")
                .args("-q -B 1 -b filesize:500 -b files:2 -s")
                .arg(SNAPLEN)
                .args("-i")
                .arg(*interface)
                .arg("-w")
                .arg(file);
            let mut capture = Daemon::start("dumpcap", &command, directory).ok()?;
            // It has its file once it listens.
            capture.wait_for("file", |capture| frames(capture.path()).next().is_some()).ok()?;
            Some((format!("{}-{interface}", namespace.role()), capture))
        });
        Self { captures: started.collect() }
    }

    /// Keeps everything; where it is.
    pub(crate) fn keep(&mut self, log: &str, namespaces: &[&Namespace]) -> std::io::Result<PathBuf> {
        let place = place();
        if place.exists() {
            fs::remove_dir_all(&place)?;
        }
        fs::create_dir_all(&place)?;
        fs::write(place.join("relay.log"), log)?;
        for namespace in namespaces {
            let seen = ["-s link", "addr", "neigh show nud all", "route show table all"]
                .map(|what| format!("# ip {what}\n{}\n", namespace.ip(what).unwrap_or_default()));
            let sockets =
                namespace.cmd("ss").args("-tuanie").run().map(|told| told.text()).unwrap_or_default();
            let seen = [seen.concat(), format!("# ss\n{sockets}")];
            fs::write(place.join(format!("{}.txt", namespace.role())), seen.concat())?;
        }
        // The kernel hands frames over in blocks, a while after they came.
        std::thread::sleep(Duration::from_millis(1500));
        for (interface, capture) in &mut self.captures {
            // What it has read is in the file only once it has ended.
            capture.stop(Signal::SIGINT, Duration::from_secs(3));
            copy(capture.path(), &place, interface)?;
        }
        Ok(place)
    }
}

fn copy(from: &Path, to: &Path, interface: &str) -> std::io::Result<()> {
    for path in frames(from) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        fs::copy(&path, to.join(format!("{interface}-{name}")))?;
    }
    Ok(())
}

/// The files of a capture.
fn frames(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|it| it == "pcapng"))
}

/// A test runs in a thread of its name.
fn place() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    let name = std::thread::current().name().unwrap_or("unnamed").replace("::", "-");
    target.join("lab-failures").join(name)
}
