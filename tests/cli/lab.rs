//! Relays to be started, as root each in a network namespace of its own.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use tempfile::TempDir;

use crate::common::{BORDERLINE, Run};

/// Nobody's user and group.
pub(crate) const NOBODY: &str = "65534";
/// Before a program that nobody runs.
pub(crate) const SETPRIV: [&str; 6] = ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"];
/// A relay in a network namespace of its own.
pub(crate) const ALONE: [&str; 4] = ["unshare", "--net", "--", BORDERLINE];
/// How the counters begin.
pub(crate) const COUNTERS: &str = "counters {";

pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// True, after saying why past the test harness, when a test for root cannot run.
pub(crate) fn skip_without_root() -> bool {
    if is_root() {
        return false;
    }
    let required = std::env::var("BORDERLINE_REQUIRE_E2E").is_ok_and(|value| value == "1");
    assert!(!required, "may not be skipped here: needs root");
    writeln!(std::io::stderr(), "SKIPPED: needs root").ok();
    true
}

/// The first CPU this process may use.
pub(crate) fn cpu() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    let first = list.trim().split([',', '-']).next().unwrap();
    first.to_owned()
}

/// A relay with one port, in ordinary memory.
pub(crate) struct Relay {
    pub(crate) directory: TempDir,
    pub(crate) device: String,
    pub(crate) workers: String,
    pub(crate) memory: String,
}

impl Relay {
    pub(crate) fn new(device: &str) -> Self {
        Self {
            directory: TempDir::new().unwrap(),
            device: device.to_owned(),
            workers: cpu(),
            memory: "memory = \"no-huge\"\nmemory_mb = 64".to_owned(),
        }
    }

    /// A relay that starts: its port is a bit bucket.
    pub(crate) fn good() -> Self {
        Self::new("net_null0,no-rx=1")
    }

    pub(crate) fn config(&self) -> PathBuf {
        let path = self.directory.path().join("relay.toml");
        let toml = format!(
            "[dpdk]\nworkers = [{}]\n{}\n[[port]]\nname = \"bltest\"\ndevice = \"{}\"\n\
             [translation]\nprefixes = [\"2001:db8:46::/96\"]\nicmp_source_pool = [\"198.51.100.1\"]\n",
            self.workers, self.memory, self.device
        );
        fs::write(&path, toml).unwrap();
        path
    }

    /// Runs it in a network namespace of its own, and returns when it translates.
    pub(crate) fn run(&self) -> Running {
        Running::begin(&self.config(), &ALONE, &[]).translating()
    }

    /// A copy of the program that everybody may run.
    pub(crate) fn program_for_all(&self) -> PathBuf {
        // Neither the target directory nor a temporary one is for everybody.
        let program = self.directory.path().join("borderline");
        fs::copy(BORDERLINE, &program).unwrap();
        fs::set_permissions(self.directory.path(), Permissions::from_mode(0o755)).unwrap();
        program
    }

    /// The command that runs it; as root in a network namespace of its own, followed by a look at what is left there.
    pub(crate) fn command(&self) -> Command {
        self.command_as(&[OsStr::new(BORDERLINE)])
    }

    pub(crate) fn command_as(&self, program: &[&OsStr]) -> Command {
        let mut command;
        if is_root() {
            command = Command::new("unshare");
            command.args(["--net", "sh", "-c"]);
            command.arg(
                "\"$@\"; status=$?; grep bl-bltest /proc/net/dev && echo 'a twin is left'; exit $status",
            );
            command.arg("sh");
            command.args(program);
        } else {
            command = Command::new(program[0]);
            command.args(&program[1..]);
        }
        command.args(["run", "--config"]).arg(self.config());
        command.current_dir(self.directory.path()).env("RUST_LOG", "info");
        command
    }

    /// Runs the relay, which must give up: one error line with all of these words, and nothing left behind. `check --machine`
    /// has said so beforehand.
    #[track_caller]
    pub(crate) fn refused(&self, words: &[&str]) {
        self.check_machine().failed_with(2, words);
        self.refused_by_its_driver(words);
    }

    /// The same, where only the driver knows.
    #[track_caller]
    pub(crate) fn refused_by_its_driver(&self, words: &[&str]) {
        refused(&Run::command(&mut self.command()), words);
        assert_eq!(files(self.directory.path()), ["relay.toml"]);
    }

    /// Whether it could start, as the program sees it.
    pub(crate) fn check_machine(&self) -> Run {
        let words: &[&str] = if is_root() { &ALONE } else { &ALONE[3..] };
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(["check", "--machine", "--config"]).arg(self.config());
        Run::command(&mut command)
    }
}

#[track_caller]
pub(crate) fn refused(run: &Run, words: &[&str]) {
    run.failed_with(1, &[]);
    assert_eq!(run.stdout, "", "nothing is left, nothing is said on standard output");
    let errors: Vec<&str> = run.stderr.lines().filter(|line| line.contains(" ERROR ")).collect();
    assert_eq!(errors.len(), 1, "one sentence\n{}", run.stderr);
    for word in words {
        assert!(errors[0].contains(word), "{word:?} is missing\n{}", run.stderr);
    }
}

pub(crate) fn files(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Runs a relay as nobody, in the namespace root made for it.
pub(crate) fn as_nobody(relay: &Relay) -> Run {
    let program = relay.program_for_all();
    let mut words = SETPRIV.map(OsStr::new).to_vec();
    words.push(program.as_os_str());
    Run::command(&mut relay.command_as(&words))
}

/// The words by which nobody runs a program with these capabilities.
pub(crate) fn with_capabilities(capabilities: &str, program: &Path) -> Vec<OsString> {
    let sets = ["--inh-caps", "--ambient-caps", "--bounding-set"];
    let sets = sets.map(|set| format!("{set}={capabilities}").into());
    SETPRIV.map(OsString::from).into_iter().chain(sets).chain([program.into()]).collect()
}

/// A relay that was started, and what it says.
pub(crate) struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    said: Vec<String>,
}

impl Running {
    /// Starts a program with these words, which all end in becoming the next one, with these options.
    pub(crate) fn begin(config: &Path, words: &[impl AsRef<OsStr>], options: &[&str]) -> Self {
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .arg("run")
            .args(options)
            .arg("--config")
            .arg(config)
            .current_dir(config.parent().unwrap())
            .env("RUST_LOG", "info")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, lines, said: Vec::new() }
    }

    /// The same relay, once it translates.
    #[track_caller]
    pub(crate) fn translating(mut self) -> Self {
        self.says("translating");
        self
    }

    /// Waits until it says that; the whole line.
    #[track_caller]
    pub(crate) fn says(&mut self, words: &str) -> String {
        for line in self.lines.by_ref().map(Result::unwrap) {
            self.said.push(line);
            if let Some(line) = self.said.last().filter(|line| line.contains(words)) {
                return line.clone();
            }
        }
        panic!("{words:?} was not said, but {:#?}", self.said);
    }

    /// The same, also if it has said so by now.
    #[track_caller]
    pub(crate) fn has_said(&mut self, words: &str) -> String {
        let said = self.said.iter().find(|line| line.contains(words)).cloned();
        said.unwrap_or_else(|| self.says(words))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn send(&self, signal: &str) {
        let status = Command::new("kill").args(["-s", signal, &self.pid().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Ends it, which it must do in order, with its counters as the last word.
    #[track_caller]
    pub(crate) fn stop(mut self, signal: &str) {
        self.send(signal);
        self.says(COUNTERS);
        self.lines.by_ref().for_each(drop);
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{signal}: {:#?}", self.said);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended, unless the test has failed.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
