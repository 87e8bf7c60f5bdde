//! What can go wrong in the laboratory itself; a wrong answer of the relay is an assertion in the test.

use std::fmt;
use std::io;
use std::time::Duration;

/// A step of the laboratory failed. `Debug` prints the message, because that is what the test harness shows.
#[derive(thiserror::Error)]
pub enum LabError {
    /// A command ended with a status other than 0.
    #[error("`{command}` failed ({status}):\n{output}")]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// Everything it wrote.
        output: String,
    },
    /// A command or condition took longer than allowed.
    #[error("{what} took longer than {after:?}:\n{output}")]
    TooSlow {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
        /// What had been written until then.
        output: String,
    },
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A program answered with something that cannot be read.
    #[error("cannot read {what}: {text}")]
    Unreadable {
        /// What should have been there.
        what: String,
        /// What was there.
        text: String,
    },
    /// The relay ended, or never came up.
    #[error("the relay {what}; its log:\n{log}")]
    Relay {
        /// What happened.
        what: String,
        /// The end of its log.
        log: String,
    },
}

impl fmt::Debug for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl LabError {
    /// For `map_err`: names what was attempted.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

impl From<io::Error> for LabError {
    fn from(source: io::Error) -> Self {
        Self::Io { what: "socket or file".into(), source }
    }
}
