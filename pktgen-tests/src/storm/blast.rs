//! Sends frames of one kind, at a rate or as fast as one thread can.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::lab::{LabError, Namespace, RawLink};

/// A storm on its way.
pub(super) struct Blast {
    stop: Arc<AtomicBool>,
    sender: Option<JoinHandle<Sent>>,
}

/// What was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) frames: u64,
    pub(super) time: Duration,
}

impl Sent {
    /// Thousands per second, for the table.
    pub(super) fn rate(&self) -> String {
        let per_second = u128::from(self.frames) * 1000 / self.time.as_millis().max(1);
        format!("{},{:03}/s", per_second / 1000, per_second % 1000)
    }
}

impl Blast {
    /// Sends what `frame` makes of 0, 1, 2, ... by an interface; `rate` frames per second, or without a limit.
    pub(super) fn start(
        namespace: &Namespace,
        interface: &str,
        rate: Option<u32>,
        mut frame: impl FnMut(u64) -> Vec<u8> + Send + 'static,
    ) -> Result<Self, LabError> {
        let mut wire = RawLink::open(namespace, interface)?;
        let stop = Arc::<AtomicBool>::default();
        let over = Arc::clone(&stop);
        let sender = thread::spawn(move || {
            let start = Instant::now();
            let mut number = 0;
            while !over.load(Ordering::Relaxed) {
                let due = rate.map_or(number + 64, |rate| due(rate, start.elapsed()));
                while number < due {
                    wire.send(&frame(number));
                    number += 1;
                }
                if rate.is_some() {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            Sent { frames: number, time: start.elapsed() }
        });
        Ok(Self { stop, sender: Some(sender) })
    }

    /// Ends it.
    pub(super) fn finish(mut self) -> Sent {
        self.stop.store(true, Ordering::Relaxed);
        let sender = self.sender.take().expect("finished once");
        sender.join().expect("the sender does not panic")
    }
}

/// A storm never outlives the scenario that raised it, whatever ended that.
impl Drop for Blast {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn due(rate: u32, elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_micros() * u128::from(rate) / 1_000_000).expect("a storm is short")
}
