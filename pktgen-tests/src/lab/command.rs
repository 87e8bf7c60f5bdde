//! Runs programs: never without a time limit, never leaving one behind.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::{LabError, PATIENCE};

/// A command line with a time limit.
#[derive(Debug, Clone)]
#[must_use]
pub struct Cmd {
    argv: Vec<String>,
    timeout: Duration,
    input: Option<String>,
}

/// What a finished command left.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Whether the exit status was 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.status.success()
    }

    /// Both streams, for messages.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl Cmd {
    /// A program without arguments.
    pub fn new(program: &str) -> Self {
        Self { argv: vec![program.into()], timeout: PATIENCE, input: None }
    }

    /// Adds one argument.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.argv.push(arg.into());
        self
    }

    /// Adds arguments, split at white space.
    pub fn args(mut self, args: &str) -> Self {
        self.argv.extend(args.split_whitespace().map(String::from));
        self
    }

    /// Sets a time limit other than [`PATIENCE`].
    pub fn timeout(mut self, seconds: u64) -> Self {
        self.timeout = Duration::from_secs(seconds);
        self
    }

    /// What the program reads from its standard input.
    pub fn input(mut self, text: impl Into<String>) -> Self {
        self.input = Some(text.into());
        self
    }

    /// Runs to the end, whatever the exit status.
    ///
    /// # Errors
    /// When it cannot be started or is not done in time.
    pub fn run(&self) -> Result<Output, LabError> {
        let mut command = self.command();
        command.stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(LabError::io(self.line()))?;
        if let (Some(mut stdin), Some(text)) = (child.stdin.take(), self.input.clone()) {
            // A program that ends without reading is judged by its exit status, not by the broken pipe.
            thread::spawn(move || stdin.write_all(text.as_bytes()).ok());
        }
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        let ended = wait(&mut child, self.timeout);
        if ended.is_none() {
            end_group(&mut child, Signal::SIGKILL, Duration::from_secs(2));
        }
        let stdout = stdout.join().unwrap_or_default();
        let stderr = stderr.join().unwrap_or_default();
        match ended {
            Some(status) => Ok(Output { status, stdout, stderr }),
            None => Err(LabError::TooSlow {
                what: format!("`{}`", self.line()),
                after: self.timeout,
                output: stdout + &stderr,
            }),
        }
    }

    /// Runs to the end and insists on exit status 0.
    ///
    /// # Errors
    /// As [`Cmd::run`], and when the status is another.
    pub fn ok(&self) -> Result<Output, LabError> {
        let output = self.run()?;
        if output.success() {
            return Ok(output);
        }
        Err(LabError::Failed {
            command: self.line(),
            status: output.status.to_string(),
            output: output.text(),
        })
    }

    /// Starts without waiting; both streams go to `log`.
    pub(crate) fn start(&self, log: &Path, stdin: Stdio) -> Result<Child, LabError> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(LabError::io(log.display().to_string()))?;
        let copy = file.try_clone().map_err(LabError::io(log.display().to_string()))?;
        let mut command = self.command();
        command.stdin(stdin).stdout(file).stderr(copy);
        command.spawn().map_err(LabError::io(self.line()))
    }

    /// The command line, for messages.
    #[must_use]
    pub fn line(&self) -> String {
        self.argv.join(" ")
    }

    /// In a process group of its own, so that a time limit also reaches its children; and ended by the kernel should
    /// this process be killed.
    fn command(&self) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).args(&self.argv).process_group(0);
        command
    }
}

/// Waits until the child has ended, at most `patience`.
pub(crate) fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if start.elapsed() >= patience {
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Signals the child's process group, waits, and kills what is left of it.
pub(crate) fn end_group(child: &mut Child, signal: Signal, patience: Duration) -> Option<ExitStatus> {
    let group = i32::try_from(child.id()).map(Pid::from_raw).ok()?;
    killpg(group, signal).ok();
    let ended = wait(child, patience);
    killpg(group, Signal::SIGKILL).ok();
    ended.or_else(|| child.wait().ok())
}

fn collect(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            stream.read_to_end(&mut bytes).ok();
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
