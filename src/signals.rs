//! The signals the relay listens to.

use control::actor::ControlHandle;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT stop, SIGHUP asks for a reload, SIGUSR1 for the counters.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user: Signal,
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

    /// Passes on what each signal asks for, until there is nobody to ask any more.
    pub(crate) async fn forward(mut self, relay: ControlHandle) {
        loop {
            let passed_on = tokio::select! {
                _ = self.terminate.recv() => relay.request_stop().await,
                _ = self.interrupt.recv() => relay.request_stop().await,
                _ = self.hangup.recv() => relay.request_reload().await,
                _ = self.user.recv() => relay.request_counters().await,
            };
            if passed_on.is_err() {
                return;
            }
        }
    }
}
