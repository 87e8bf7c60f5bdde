//! What may take the control thread too long to do itself: a thread for it.
//!
//! A request to rtnetlink works inside the system call that sends it, under a lock that everybody's change of an interface or a
//! route takes, and who holds it may be long about it (removing an interface waits for every processor). Whoever has to follow
//! hundreds of thousands of changes, keep BFD's packets moving and answer for the relay's health does not wait for that.

use std::io;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use tokio::sync::oneshot;

type Errand = Box<dyn FnOnce() + Send>;

/// A thread that runs errands, one after the other. It ends when this is dropped and what it had to do is done.
pub(crate) struct Errands(Sender<Errand>);

impl Errands {
    /// Starts the thread; its name has 15 bytes at most.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub(crate) fn start(name: &str) -> io::Result<Self> {
        let (sender, errands) = channel::<Errand>();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            errands.into_iter().for_each(|errand| errand());
        })?;
        Ok(Self(sender))
    }

    /// Has something done.
    pub(crate) fn send(&self, errand: impl FnOnce() + Send + 'static) {
        self.0.send(Box::new(errand)).expect("the thread lives as long as its sender");
    }

    /// Has something done and waits for what comes of it. Done it is in any case, if this is dropped before as well.
    pub(crate) async fn run<T: Send + 'static>(&self, errand: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, result) = oneshot::channel();
        // Whoever asked may have stopped waiting.
        self.send(move || drop(sender.send(errand())));
        result.await.expect("errands do not panic")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn errands_are_run_in_order_on_another_thread_while_this_one_goes_on() {
        let errands = Errands::start("errands").unwrap();
        let (hold, held) = channel::<()>();
        let (noted, notes) = channel();
        let note = noted.clone();
        errands.send(move || {
            held.recv().ok();
            note.send(1).unwrap();
        });
        let run = errands.run(move || {
            noted.send(2).unwrap();
            thread::current().name().map(str::to_owned)
        });
        tokio::pin!(run);
        assert!(
            tokio::time::timeout(Duration::from_millis(20), &mut run).await.is_err(),
            "it waits for the first"
        );
        drop(hold);
        assert_eq!(run.await.as_deref(), Some("errands"));
        assert_eq!(notes.iter().take(2).collect::<Vec<_>>(), [1, 2]);
    }
}
