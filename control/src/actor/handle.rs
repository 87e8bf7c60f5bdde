//! The senders' end: cloneable, for any thread but the control thread itself.

use std::sync::Arc;
use std::time::Duration;

use dataplane::table::snapshot::Snapshot;
use dataplane::table::translation::Translation;
use tokio::sync::{mpsc, oneshot};

use super::builder::{Update, UpdateError};
use super::message::{Counters, Drained, ReloadOutcome, Request, Status};

/// Requests that wait at most. More than that many senders at once wait for a place, not the actor.
const QUEUE: usize = 64;

/// Talks to the actor. Its methods wait for the answer: call them on a thread that may wait.
#[derive(Clone)]
pub struct ControlHandle(mpsc::Sender<Request>);

/// The relay is ending: there is nobody to answer any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the relay is stopping")]
pub struct Gone;

/// Tables that took over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Updated {
    /// The publication they came with.
    pub generation: u64,
    /// Whether every worker uses them. False when one did not look for five seconds: it has them as soon as it does.
    pub everywhere: bool,
    /// From the order to the answer.
    pub took: Duration,
}

impl ControlHandle {
    pub(super) fn new() -> (Self, mpsc::Receiver<Request>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), receiver)
    }

    /// What the relay is and how it is.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn status(&self) -> Result<Status, Gone> {
        self.ask(Request::Status)
    }

    /// Everything that is counted.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn counters(&self) -> Result<Counters, Gone> {
        self.ask(Request::Counters)
    }

    /// What the workers see now: the live tables, for look-ups. Let go of it soon, its tables stay in memory as long.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn snapshot(&self) -> Result<Arc<Snapshot>, Gone> {
        self.ask(Request::Snapshot)
    }

    /// Begins to take the relay out of service: worse routes for as long as `lead` (none: as configured), then none.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn drain(&self, lead: Option<Duration>) -> Result<Drained, Gone> {
        self.ask(|answer| Request::Drain(lead, answer))
    }

    /// Takes a drain back.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn undrain(&self) -> Result<Drained, Gone> {
        self.ask(Request::Undrain)
    }

    /// Reads the configuration again, and says what came of it.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn reload(&self) -> Result<ReloadOutcome, Gone> {
        self.ask(|answer| Request::Reload(Some(answer)))
    }

    /// Replaces the translation tables by what `change` makes of those in use.
    ///
    /// `change` runs on the builder's thread, one at a time and never beside a reload, and may take its time there: it
    /// is the place to apply changes ([`Translation::apply`]) and to make them durable. What it returns is published, and
    /// this returns when every worker uses it. When it fails, nothing has changed.
    ///
    /// # Errors
    /// [`UpdateError::Refused`] with what `change` returned, [`UpdateError::Gone`].
    pub fn update<E: Send + 'static>(
        &self,
        change: impl FnOnce(&Arc<Translation>) -> Result<Translation, E> + Send + 'static,
    ) -> Result<Updated, UpdateError<E>> {
        let (update, answer) = Update::new(change);
        self.0.blocking_send(Request::Update(update)).map_err(|_| UpdateError::Gone)?;
        answer.wait()
    }

    /// Asks for a reload without waiting for what comes of it.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn request_reload(&self) -> Result<(), Gone> {
        self.send(Request::Reload(None)).await
    }

    /// Asks for the counters in the log.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn request_counters(&self) -> Result<(), Gone> {
        self.send(Request::PrintCounters).await
    }

    /// Asks for the end. Asked twice, the relay does not wait for routing daemons to notice.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn request_stop(&self) -> Result<(), Gone> {
        self.send(Request::Stop).await
    }

    /// Asks for the end, without waiting for anybody: another process goes on with the twins and what is announced.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn request_hand_over(&self) -> Result<(), Gone> {
        self.send(Request::HandOver).await
    }

    async fn send(&self, request: Request) -> Result<(), Gone> {
        self.0.send(request).await.map_err(|_| Gone)
    }

    fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Gone> {
        let (sender, receiver) = oneshot::channel();
        self.0.blocking_send(request(sender)).map_err(|_| Gone)?;
        receiver.blocking_recv().map_err(|_| Gone)
    }
}
