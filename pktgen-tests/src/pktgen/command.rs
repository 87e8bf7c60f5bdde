//! A command that runs in the middle of a trial, on a thread of its own: starting a process takes longer than a receive
//! queue lasts.

use std::io;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::error::PktgenError;

/// A command that takes longer is ended.
const PATIENCE: Duration = Duration::from_secs(60);

/// A thread that waits to run a command. Made before DPDK pins the main thread, so that the command may run anywhere.
pub(super) struct Commander {
    line: String,
    start: Sender<Duration>,
    ended: Receiver<Result<Duration, String>>,
}

impl Commander {
    /// For a line of shell.
    #[must_use]
    pub(super) fn new(line: &str) -> Self {
        let (start, starts) = channel::<Duration>();
        let (ends, ended) = channel();
        let own = line.to_owned();
        thread::spawn(move || {
            for delay in starts {
                thread::sleep(delay);
                if ends.send(run(&own)).is_err() {
                    return;
                }
            }
        });
        Self { line: line.to_owned(), start, ended }
    }

    /// Runs it after `delay`.
    pub(super) fn schedule(&self, delay: Duration) {
        self.start.send(delay).expect("the thread waits as long as this lives");
    }

    /// Waits for it; how long it took.
    ///
    /// # Errors
    /// [`PktgenError::Command`].
    pub(super) fn wait(&self) -> Result<Duration, PktgenError> {
        let ended = self.ended.recv().unwrap_or_else(|_| Err("its thread is gone".into()));
        ended.map_err(|reason| PktgenError::Command { command: self.line.clone(), reason })
    }
}

fn run(line: &str) -> Result<Duration, String> {
    let start = Instant::now();
    // Its output goes beside ours, which is the table. No pipe: what it leaves running in the background would hold it.
    let mut child = Command::new("sh")
        .args(["-c", line])
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .spawn()
        .map_err(|error| error.to_string())?;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(start.elapsed()),
            Ok(Some(status)) => return Err(status.to_string()),
            Ok(None) if start.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(1)),
            Ok(None) => {
                child.kill().ok();
                child.wait().ok();
                return Err(format!("not done after {PATIENCE:?}"));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs_after_its_delay_and_tells_of_failure() {
        let start = Instant::now();
        let commander = Commander::new("sleep 0.05");
        commander.schedule(Duration::from_millis(30));
        let took = commander.wait().expect("sleep works");
        assert!(took >= Duration::from_millis(50) && start.elapsed() >= Duration::from_millis(80));

        let commander = Commander::new("exit 3");
        commander.schedule(Duration::ZERO);
        let error = commander.wait().expect_err("it fails").to_string();
        assert!(error.contains("`exit 3` failed") && error.contains('3'), "{error}");
    }
}
