//! A relay in this process, and `borderctl` as a process that talks to it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use control_server::testing::FakeRelay;
use control_server::{Limits, Server};
use serde_json::Value;
use tempfile::TempDir;

/// What a run of borderctl came to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) struct Lab {
    pub(crate) socket: PathBuf,
    pub(crate) directory: TempDir,
    _server: Server,
    _relay: Arc<FakeRelay>,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("control.sock");
        let relay = FakeRelay::new(&directory.path().join("mappings.db"));
        let server = relay.serve(&socket, Limits::default()).unwrap();
        Self { socket, directory, _server: server, _relay: relay }
    }

    /// Runs borderctl in the lab's directory. Words with spaces stand in single quotes.
    pub(crate) fn run(&self, line: &str) -> Run {
        run(&self.socket, self.directory.path(), line, "")
    }

    #[track_caller]
    pub(crate) fn good(&self, line: &str) -> String {
        let run = self.run(line);
        assert_eq!(run.status, 0, "{line}: {run:?}");
        run.out
    }

    /// The answer as a program reads it.
    #[track_caller]
    pub(crate) fn json(&self, line: &str) -> Value {
        let out = self.good(&format!("--json {line}"));
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{line}: {error}: {out}"))
    }

    /// What is said about a refusal, which must have changed nothing.
    #[track_caller]
    pub(crate) fn refused(&self, line: &str) -> String {
        let before = self.good("--json eam list");
        let run = self.run(line);
        assert_eq!(run.status, 1, "{line}: {run:?}");
        assert!(run.err.starts_with("borderctl: "), "{run:?}");
        assert_eq!(self.good("--json eam list"), before, "{line} changed something");
        run.err
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.directory.path().join(name), text).unwrap();
    }
}

pub(crate) fn run(socket: &Path, directory: &Path, line: &str, input: &str) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_borderctl"))
        .args(words(line))
        .env("BORDERLINE_SOCKET", socket)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have ended without reading.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Run {
        status: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The words of a command line, as a shell parts them.
pub(crate) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (number, part) in line.split('\'').enumerate() {
        if number % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(ToOwned::to_owned));
        }
    }
    words
}
