//! How long a task kept its thread: the longest poll of a future.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// The longest stretch so far. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Stall(Rc<Cell<Duration>>);

impl Stall {
    /// The longest stretch.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.0.get()
    }

    /// Has every poll of `future` measured.
    pub fn watch<F: Future>(&self, future: F) -> Watched<F> {
        Watched { future: Box::pin(future), stall: self.clone() }
    }
}

/// A future whose polls are measured.
pub struct Watched<F> {
    future: Pin<Box<F>>,
    stall: Stall,
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let started = Instant::now();
        let polled = self.future.as_mut().poll(context);
        let longest = self.stall.0.get().max(started.elapsed());
        self.stall.0.set(longest);
        polled
    }
}

#[cfg(test)]
mod tests {
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
        let longest = stall.longest();
        assert!((Duration::from_millis(30)..Duration::from_millis(900)).contains(&longest), "{longest:?}");
    }
}
