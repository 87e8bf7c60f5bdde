//! The builder's thread: the only one that makes translation tables, from reloads and from updates, in the order in which
//! they were asked for. And the thread beside it that frees what was replaced.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use dataplane::table::eam::Eam;
use dataplane::table::translation::Translation;
use tokio::sync::{mpsc, oneshot};

use super::handle::Updated;
use super::reader::Askers;
use super::watch::Looked;
use crate::config::{self, Eams, Problems};
use crate::health::Audit;
use crate::reload::{Loaded, Prepared, ReloadError, Running};

/// Keeps mappings beside those of the files. Asked on the builder's thread only, so never while an update runs.
pub trait MappingSource: Send {
    /// Whether the mappings of newly read files go with its own.
    ///
    /// # Errors
    /// What is wrong; the reload is refused then.
    fn check(&self, files: &Eams) -> Result<(), Problems>;
    /// All of its own mappings, as they are in use.
    ///
    /// # Errors
    /// Why they cannot be read; the reload is refused then.
    fn rows(&self) -> Result<Vec<Eam>, String>;
    /// The mappings of the files, and the settings beside them, are these from now on.
    fn accept(&mut self, files: Eams, settings: &config::Translation);
}

/// Why tables did not change.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError<E> {
    /// The change itself failed.
    #[error("{0}")]
    Refused(E),
    /// The relay is ending.
    #[error("the relay is stopping")]
    Gone,
}

/// What the builder has done, and others that the actor waits for.
pub(super) enum Done {
    /// The files were read.
    Read { number: u64, loaded: Box<Loaded> },
    /// A reload is ready to be published, or refused.
    Prepared { result: Result<Box<Prepared>, ReloadError>, askers: Askers },
    /// An update is ready to be published.
    Updated { translation: Arc<Translation>, answer: Answer },
    /// The tables were gone through.
    Audited(Audit),
    /// The interfaces under the ports were looked at.
    Looked(Looked),
}

/// Whom to tell when an update is in force.
pub(super) struct Answer {
    pub(super) sender: oneshot::Sender<Updated>,
    pub(super) started: Instant,
}

/// Makes the next tables of those in use, or says no to whoever asked.
type MakeNext = Box<dyn FnOnce(&Arc<Translation>) -> Option<Translation> + Send>;

/// An order to change the tables, see [`super::ControlHandle::update`].
pub(super) struct Update {
    change: MakeNext,
    answer: Answer,
}

/// The other end of an update.
pub(super) struct UpdateAnswer<E> {
    refused: oneshot::Receiver<E>,
    updated: oneshot::Receiver<Updated>,
}

impl Update {
    pub(super) fn new<E: Send + 'static>(
        change: impl FnOnce(&Arc<Translation>) -> Result<Translation, E> + Send + 'static,
    ) -> (Self, UpdateAnswer<E>) {
        let ((refuse, refused), (sender, updated)) = (oneshot::channel(), oneshot::channel());
        let change = Box::new(move |tables: &Arc<Translation>| match change(tables) {
            Ok(next) => Some(next),
            Err(error) => {
                // Whoever asked may have stopped waiting.
                refuse.send(error).ok();
                None
            }
        });
        let answer = Answer { sender, started: Instant::now() };
        (Self { change, answer }, UpdateAnswer { refused, updated })
    }
}

impl<E> UpdateAnswer<E> {
    pub(super) fn wait(mut self) -> Result<Updated, UpdateError<E>> {
        match self.updated.blocking_recv() {
            Ok(updated) => Ok(updated),
            Err(_) => Err(self.refused.try_recv().map_or(UpdateError::Gone, UpdateError::Refused)),
        }
    }
}

enum Job {
    Reload { loaded: Box<Loaded>, askers: Askers },
    Update(Update),
}

/// The actor's ends of the threads.
pub(super) struct Builder {
    tables: Sender<Job>,
    garbage: Sender<Box<dyn Send>>,
}

impl Builder {
    /// Starts the threads. They end when this is dropped and their work is done.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub(super) fn start(running: Running, results: &mpsc::UnboundedSender<Done>) -> std::io::Result<Self> {
        let (tables, jobs) = channel();
        let (garbage, replaced) = channel::<Box<dyn Send>>();
        let (built, waste) = (results.clone(), garbage.clone());
        spawn("builder", move || build(running, &jobs, &built, &waste))?;
        spawn("freeing", move || replaced.into_iter().for_each(drop))?;
        Ok(Self { tables, garbage })
    }

    pub(super) fn reload(&self, loaded: Box<Loaded>, askers: Askers) {
        self.tables.send(Job::Reload { loaded, askers }).expect("the builder lives as long as the actor");
    }

    pub(super) fn update(&self, update: Update) {
        self.tables.send(Job::Update(update)).expect("the builder lives as long as the actor");
    }

    /// Drops something large elsewhere.
    pub(super) fn free(&self, garbage: Box<dyn Send>) {
        self.garbage.send(garbage).expect("the thread lives as long as the actor");
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(body).map(drop)
}

fn build(
    mut running: Running,
    jobs: &Receiver<Job>,
    results: &mpsc::UnboundedSender<Done>,
    garbage: &Sender<Box<dyn Send>>,
) {
    for job in jobs {
        let done = match job {
            Job::Reload { loaded, askers } => {
                let result = running.prepare(*loaded).map(|(prepared, replaced)| {
                    garbage.send(Box::new(replaced)).ok();
                    Box::new(prepared)
                });
                Done::Prepared { result, askers }
            }
            Job::Update(Update { change, answer }) => match change(running.translation()) {
                Some(next) => Done::Updated { translation: running.replace(next), answer },
                None => continue,
            },
        };
        if results.send(done).is_err() {
            return;
        }
    }
}
