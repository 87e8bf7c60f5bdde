//! Runs the program under test.
#![allow(dead_code, reason = "each test uses a part")]

use std::ffi::OsStr;
use std::process::{Command, Output};

/// The program under test.
pub(crate) const BORDERLINE: &str = env!("CARGO_BIN_EXE_borderline");

/// What a finished program left: its exit status and what it said.
#[derive(Debug)]
pub(crate) struct Run {
    /// Exit status; none when a signal ended it.
    pub(crate) status: Option<i32>,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Run {
    /// Runs `borderline` with these arguments.
    pub(crate) fn borderline<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        Self::command(Command::new(BORDERLINE).args(arguments))
    }

    /// Runs a command.
    pub(crate) fn command(command: &mut Command) -> Self {
        let output = command.output();
        output.unwrap_or_else(|error| panic!("{command:?}: {error}")).into()
    }

    /// Refuses this run unless it ended with `status` and said each of `words` on standard error.
    #[track_caller]
    pub(crate) fn failed_with(&self, status: i32, words: &[&str]) {
        assert_eq!(self.status, Some(status), "{self:#?}");
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is missing\n{}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
    }
}
