//! The signals the relay listens to.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT stop, SIGHUP asks for a reload, SIGUSR1 for the counters.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user: Signal,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Stop.
    Stop,
    /// Read the configuration again.
    Reload,
    /// Print the counters.
    Counters,
}

impl Signals {
    /// Starts listening; needs a runtime.
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined1())?,
        })
    }

    /// The next signal.
    pub(crate) async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.hangup.recv() => Wish::Reload,
            _ = self.user.recv() => Wish::Counters,
        }
    }
}
