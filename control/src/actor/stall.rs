//! How long a task kept its thread: the longest poll of a future, by the clock and by what was its own doing.

use std::cell::Cell;
use std::fs::File;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustix::io::pread;
use rustix::time::{ClockId, clock_gettime};

/// The longest stretches for which something kept a thread. They need not be the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Longest {
    /// By the clock: with what others took of the processor meanwhile.
    pub elapsed: Duration,
    /// Of its own: without the time in which it could have gone on, had it had a processor, and without what the host of a
    /// virtual machine took. What it waited for is its own doing: a disk, a lock, a page of memory.
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
        let schedule = File::open("/proc/thread-self/schedstat").ok();
        Watched { future: Box::pin(future), stall: self.clone(), schedule }
    }
}

/// A future whose polls are measured.
pub struct Watched<F> {
    future: Pin<Box<F>>,
    stall: Stall,
    /// What the scheduler knows of the thread.
    schedule: Option<File>,
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let (started, used, before) = (Instant::now(), processor_time(), self.scheduled());
        let polled = self.future.as_mut().poll(context);
        let elapsed = started.elapsed();
        let longest = self.stall.longest();
        // What is its own is never more than what the clock says: most turns are not looked at any further.
        if elapsed > longest.own {
            let own = match (before, self.scheduled()) {
                // It had its processor all the time: the kernel counts for it what the host left to both.
                (Some(before), Some(now)) if before.turns == now.turns => {
                    processor_time().saturating_sub(used).min(elapsed)
                }
                (Some(before), Some(now)) => elapsed.saturating_sub(now.delay.saturating_sub(before.delay)),
                _ => elapsed,
            };
            self.stall.0.set(longest.max(Longest { elapsed, own }));
        }
        polled
    }
}

impl<F> Watched<F> {
    fn scheduled(&self) -> Option<Scheduled> {
        let mut text = [0; 64];
        let read = pread(self.schedule.as_ref()?, &mut text, 0).ok()?;
        scheduled_in(&text[..read])
    }
}

/// What the scheduler has done with the thread, ever.
#[derive(Debug, PartialEq, Eq)]
struct Scheduled {
    /// For how long it waited for a processor.
    delay: Duration,
    /// How often it was given one.
    turns: u64,
}

/// The second number, in nanoseconds, and the third.
fn scheduled_in(schedstat: &[u8]) -> Option<Scheduled> {
    let mut numbers = std::str::from_utf8(schedstat).ok()?.split_ascii_whitespace().skip(1);
    let delay = Duration::from_nanos(numbers.next()?.parse().ok()?);
    Some(Scheduled { delay, turns: numbers.next()?.parse().ok()? })
}

/// Of this thread.
fn processor_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
    use nix::unistd::Pid;

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
    fn the_time_without_a_processor_is_the_second_number_and_how_often_it_had_one_the_third() {
        let delay = Duration::from_nanos(65192);
        assert_eq!(scheduled_in(b"69907 65192 2\n"), Some(Scheduled { delay, turns: 2 }));
        assert_eq!(scheduled_in(b"69907 65192"), None);
    }
}
