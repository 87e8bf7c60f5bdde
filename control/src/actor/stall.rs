//! How long a task kept its thread: the longest poll of a future, by the clock and by what was its own doing.

use std::cell::Cell;
use std::fs::File;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustix::io::pread;

/// The longest stretches for which something kept a thread. They need not be the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Longest {
    /// By the clock: with what others took of the processor meanwhile.
    pub elapsed: Duration,
    /// Of its own: without the time in which it could have gone on, had it had a processor. What it waited for is its own
    /// doing: a disk, a lock, a page of memory.
    pub own: Duration,
}

impl Longest {
    /// The longer of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { elapsed: self.elapsed.max(other.elapsed), own: self.own.max(other.own) }
    }
}

/// The longest stretches so far. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Stall(Rc<Cell<Longest>>);

impl Stall {
    /// The longest stretches.
    #[must_use]
    pub fn longest(&self) -> Longest {
        self.0.get()
    }

    /// Has every poll of `future` measured, all of them on this thread.
    pub fn watch<F: Future>(&self, future: F) -> Watched<F> {
        // Where the kernel does not tell, everything is its own.
        let delays = File::open("/proc/thread-self/schedstat").ok();
        Watched { future: Box::pin(future), stall: self.clone(), delays }
    }
}

/// A future whose polls are measured.
pub struct Watched<F> {
    future: Pin<Box<F>>,
    stall: Stall,
    /// What the scheduler knows of the thread.
    delays: Option<File>,
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let (started, delayed) = (Instant::now(), self.delay());
        let polled = self.future.as_mut().poll(context);
        let elapsed = started.elapsed();
        let longest = self.stall.longest();
        // What is its own is never more than what the clock says: most turns are not looked at any further.
        if elapsed > longest.own {
            let own = elapsed.saturating_sub(self.delay().saturating_sub(delayed));
            self.stall.0.set(longest.max(Longest { elapsed, own }));
        }
        polled
    }
}

impl<F> Watched<F> {
    /// For how long the thread has waited for a processor, ever.
    fn delay(&self) -> Duration {
        let mut text = [0; 64];
        let read = self.delays.as_ref().map_or(0, |file| pread(file, &mut text, 0).unwrap_or(0));
        delay_in(&text[..read])
    }
}

/// The second of three numbers, in nanoseconds.
fn delay_in(schedstat: &[u8]) -> Duration {
    let text = std::str::from_utf8(schedstat).unwrap_or_default();
    let nanos = text.split_ascii_whitespace().nth(1).and_then(|number| number.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
    use nix::unistd::Pid;
    use rustix::time::{ClockId, clock_gettime};

    use super::*;

    #[tokio::test]
    async fn only_time_on_the_thread_counts() {
        let stall = Stall::default();
        let work = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            std::thread::sleep(Duration::from_millis(30));
            tokio::task::yield_now().await;
        };
        stall.watch(work).await;
        let Longest { elapsed, own } = stall.longest();
        assert!((Duration::from_millis(30)..Duration::from_millis(900)).contains(&elapsed), "{elapsed:?}");
        assert!(own >= Duration::from_millis(30), "who sleeps keeps the thread by its own doing: {own:?}");
    }

    #[tokio::test]
    async fn what_others_took_of_the_processor_is_not_its_own() {
        const TAKEN: Duration = Duration::from_millis(20);
        let mut here = CpuSet::new();
        here.set(sched_getcpu().unwrap()).unwrap();
        sched_setaffinity(Pid::from_raw(0), &here).unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let burner = std::thread::spawn({
            let is_over = Arc::clone(&is_over);
            move || while !is_over.load(Ordering::Relaxed) {}
        });
        let stall = Stall::default();
        let work = async {
            let started = (Instant::now(), processor_time());
            while started.0.elapsed() < processor_time().saturating_sub(started.1) + TAKEN {}
        };
        stall.watch(work).await;
        is_over.store(true, Ordering::Relaxed);
        burner.join().unwrap();
        let Longest { elapsed, own } = stall.longest();
        assert!(!own.is_zero() && own + TAKEN / 2 < elapsed, "{elapsed:?} {own:?}");
    }

    #[test]
    fn the_time_without_a_processor_is_the_second_number() {
        assert_eq!(delay_in(b"69907 65192 2\n"), Duration::from_nanos(65192));
        assert_eq!(delay_in(b""), Duration::ZERO);
    }

    /// Of this thread.
    fn processor_time() -> Duration {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap())
    }
}
