//! Watches over the control thread and the workers, from a thread of its own, and tells systemd.
//!
//! A control thread that hangs cannot take its routes back: this one takes the interface down that they lead to, and up again
//! when it goes on. And as long as it and every worker go on, systemd hears of it (`WatchdogSec=`); otherwise it ends the
//! process, and everything that was announced goes with it. A process that was stopped (SIGSTOP) is ended the same way.

use std::convert::Infallible;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use control::health::Pulse;
use control::kernel::switch_up_link;
use sd_notify::NotifyState;

use crate::harden::keep_nothing;

/// How often it looks, and tells.
const LOOK: Duration = Duration::from_millis(250);
/// What may wait to be told.
const LETTERS: usize = 64;
/// A control thread that was silent for so long does not go on.
const SILENCE: Duration = Duration::from_secs(3);

/// Tells systemd, if that has started the process. It is not waited for, and nothing depends on it: where it does not read, its
/// socket fills, and who writes there waits, which only a thread of its own may. What there is to tell meanwhile is dropped.
pub(crate) fn tell(states: &[NotifyState<'_>]) {
    static MANAGER: OnceLock<Option<SyncSender<String>>> = OnceLock::new();
    let Some(letters) = MANAGER.get_or_init(begin_to_tell) else { return };
    let lines: Vec<String> = states.iter().map(ToString::to_string).collect();
    if letters.try_send(lines.join("\n")).is_err() {
        tracing::debug!("systemd was not told: it does not read");
    }
}

fn begin_to_tell() -> Option<SyncSender<String>> {
    std::env::var_os("NOTIFY_SOCKET")?;
    let (letters, told) = sync_channel::<String>(LETTERS);
    let telling = thread::Builder::new().name("notify".to_owned()).spawn(move || {
        keep_nothing();
        for letter in told {
            if let Err(error) = sd_notify::notify(&[NotifyState::Custom(&letter)]) {
                tracing::debug!(%error, "systemd was not told");
            }
        }
    });
    match telling {
        Ok(_) => Some(letters),
        Err(error) => {
            tracing::warn!(%error, "systemd is told nothing");
            None
        }
    }
}

/// Tells systemd of a process that stands by: it counts from the moment it was told that this one is ready.
pub(crate) async fn stand_by() -> Infallible {
    loop {
        tell(&[NotifyState::Watchdog]);
        tokio::time::sleep(LOOK).await;
    }
}

/// Tells systemd of a process that takes over, until `is_started` or for `limit`; whether it has started.
pub(crate) fn take_over(limit: Duration, is_started: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < limit && !is_started() {
        tell(&[NotifyState::Watchdog]);
        thread::sleep(LOOK);
    }
    is_started()
}

/// Starts the thread. It ends with the process.
pub(crate) fn start(pulse: Arc<Pulse>, announces: bool) -> std::io::Result<()> {
    let watch = move || {
        let mut watch = Watch::default();
        loop {
            thread::sleep(LOOK);
            watch.look(&pulse, |up| !announces || switched(up), tell);
        }
    };
    thread::Builder::new().name("watchdog".to_owned()).spawn(watch).map(drop)
}

fn switched(up: bool) -> bool {
    let result = switch_up_link(up);
    if let Err(error) = &result {
        tracing::error!(%error, up, "bl-up cannot be switched");
    }
    result.is_ok()
}

/// What was done about it so far.
#[derive(Default)]
struct Watch {
    is_down: bool,
    status: String,
}

impl Watch {
    fn look(&mut self, pulse: &Pulse, switch: impl Fn(bool) -> bool, tell: impl Fn(&[NotifyState<'_>])) {
        let hangs = pulse.silence() >= SILENCE;
        if hangs != self.is_down {
            if hangs {
                tracing::error!(
                    seconds = SILENCE.as_secs(),
                    "the control thread hangs: nothing is announced"
                );
            }
            if switch(!hangs) {
                self.is_down = hangs;
            }
        }
        if !hangs && pulse.workers() {
            tell(&[NotifyState::Watchdog]);
        }
        let status = pulse.status();
        if status != self.status {
            tell(&[NotifyState::Status(&status)]);
            self.status = status;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn look(watch: &mut Watch, pulse: &Pulse) -> (Vec<bool>, Vec<String>) {
        let (switched, told) = (RefCell::default(), RefCell::default());
        watch.look(
            pulse,
            |up| {
                RefCell::<Vec<bool>>::borrow_mut(&switched).push(up);
                true
            },
            |states| {
                RefCell::<Vec<String>>::borrow_mut(&told)
                    .extend(states.iter().map(|state| format!("{state:?}")))
            },
        );
        (switched.into_inner(), told.into_inner())
    }

    #[test]
    fn systemd_hears_of_a_relay_that_goes_on_and_of_no_other() {
        let (mut watch, pulse) = (Watch::default(), Pulse::default());
        pulse.beat(true);
        pulse.say("well".to_owned());
        let (switched, told) = look(&mut watch, &pulse);
        assert!(switched.is_empty() && told[0].contains("Watchdog") && told[1].contains("well"), "{told:?}");
        assert_eq!(look(&mut watch, &pulse).1.len(), 1, "the same words are said once");
        pulse.beat(false);
        assert!(look(&mut watch, &pulse).1.is_empty(), "a worker hangs");
        thread::sleep(SILENCE);
        assert_eq!(look(&mut watch, &pulse), (vec![false], Vec::new()), "and the control thread");
        assert!(look(&mut watch, &pulse).0.is_empty(), "it is down already");
        pulse.beat(true);
        assert_eq!(look(&mut watch, &pulse).0, [true]);
    }
}
