//! The signals the relay listens to.

use std::thread;
use std::time::Duration;

use control::actor::{ControlHandle, Gone};
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::FAILED;
use crate::handover::Successors;
use crate::last_exit;
use crate::watchdog;

/// Longer than any orderly end takes.
const END_LIMIT: Duration = Duration::from_secs(10);

/// SIGTERM and SIGINT stop, SIGHUP asks for a reload, SIGUSR1 for the counters, SIGUSR2 has the relay that stands by take over.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user: Signal,
    hand_over: Signal,
    is_ending: bool,
}

impl Signals {
    /// Starts listening; needs a runtime.
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined1())?,
            hand_over: signal(SignalKind::user_defined2())?,
            is_ending: false,
        })
    }

    /// Waits until the end is asked for: before there is a relay to pass anything on to.
    pub(crate) async fn stopped(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Passes on what each signal asks for, until there is nobody to ask any more. A stop may wait for as long as `drain`.
    pub(crate) async fn forward(mut self, relay: ControlHandle, drain: Duration, successors: Successors) {
        loop {
            let passed_on = tokio::select! {
                _ = self.terminate.recv() => self.stop(&relay, drain).await,
                _ = self.interrupt.recv() => self.stop(&relay, drain).await,
                _ = self.hangup.recv() => relay.request_reload().await,
                _ = self.user.recv() => relay.request_counters().await,
                _ = self.hand_over.recv() => self.hand_over(&relay, &successors).await,
            };
            if passed_on.is_err() {
                return;
            }
        }
    }

    async fn hand_over(&mut self, relay: &ControlHandle, successors: &Successors) -> Result<(), Gone> {
        if !successors.ready() {
            tracing::error!(
                "SIGUSR2: nobody stands by who has everything prepared; start one with `borderline run --standby` and wait for \
                 its line `ready to take over`, or stop this relay with SIGTERM"
            );
            return Ok(());
        }
        if !std::mem::replace(&mut self.is_ending, true) {
            tracing::info!("handing over to the relay that stands by");
            watchdog::tell(&[NotifyState::Stopping]);
            limit_the_end(END_LIMIT);
        }
        relay.request_hand_over().await
    }

    async fn stop(&mut self, relay: &ControlHandle, drain: Duration) -> Result<(), Gone> {
        if !std::mem::replace(&mut self.is_ending, true) {
            let longest = END_LIMIT + drain;
            watchdog::tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(microseconds(longest))]);
            limit_the_end(longest);
        }
        relay.request_stop().await
    }
}

fn microseconds(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

/// Whatever hangs, a worker or a driver: the process ends.
fn limit_the_end(longest: Duration) {
    let watching = thread::Builder::new().name("end".to_owned()).spawn(move || {
        thread::sleep(longest);
        tracing::error!("still not stopped after {} s: ending as a crash would", longest.as_secs());
        last_exit::end(false, "it did not stop in time: a worker or a driver hung");
        // Longer than the log needs for a line, if it can be written at all.
        thread::sleep(Duration::from_millis(200));
        std::process::exit(i32::from(FAILED));
    });
    if let Err(error) = watching {
        tracing::warn!(%error, "nobody watches over the end");
    }
}
