//! The control socket of a running relay: what `control-server` serves, put together with the store and the control actor.
//!
//! `tables.rs` publishes what changes through the socket, `source.rs` takes part in reloads, `rules.rs` holds mappings against the
//! configuration, `notices.rs` keeps what the store said at the start, `answers.rs` is everything the socket is asked.

mod answers;
mod captures;
mod condition;
mod load;
mod notices;
mod observed;
mod routing;
mod rules;
mod service;
mod source;
mod tables;
mod worker_view;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use control::actor::{ControlHandle, MappingSource};
use control::config;
use control::observe::Observatory;
use control_server::mappings::Mappings;
use control_server::{Limits, ListenError, Listener, Server};
use eam_store::{Digest, Notice, Options, Store, StoreError};

use self::answers::RunningRelay;
pub(crate) use self::answers::{LogLost, build, complaints, names};
pub(crate) use self::condition::{FilesInForce, failing};
pub(crate) use self::load::BUSIEST;
use self::notices::Notices;
use self::observed::Observed;
use self::rules::ConfiguredRules;
use self::source::StoredMappings;
use self::tables::Published;
pub(crate) use self::tables::stopping;
use crate::last_exit::{self, LastExit};
use crate::meters::Meters;
use crate::metrics::{AskStore, Pages, StoreSummary};

/// Why there is no control socket; the relay does not start then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A socket and a store that are there, and not yet used.
pub(crate) struct ControlSocket {
    listener: Listener,
    mappings: Mappings,
    notices: Arc<Notices>,
    local_mtu: Option<u16>,
    last_exit: Option<LastExit>,
    config: PathBuf,
    files: FilesInForce,
    digest: Digest,
}

impl ControlSocket {
    /// Makes the socket, so that a second relay ends here, and opens the store. `config` is the file of the configuration.
    ///
    /// `local_mtu` is the largest translated packet that the box itself can be given.
    pub(crate) fn open(
        config: &Path,
        control: &config::Control,
        settings: &config::Translation,
        local_mtu: Option<u16>,
    ) -> Result<Self, ControlError> {
        let listener = Listener::bind(&control.socket, control.group.as_deref())?;
        let opened = Store::open(&control.store, Options::default())?;
        for notice in &opened.notices {
            match notice {
                Notice::Created => tracing::info!(store = %control.store.display(), "{notice}"),
                _ => tracing::warn!(store = %control.store.display(), "{notice}"),
            }
        }
        let last_exit = last_exit::begin(&control.store);
        if let Some(last) = last_exit.as_ref().filter(|last| !last.orderly) {
            tracing::warn!(
                pid = last.pid,
                ran_s = last.ran,
                "the relay before this one ended badly: {}",
                last.cause
            );
        }
        let head = opened.store.head();
        let digest = head.digest;
        let notices = Arc::new(Notices::new(&opened.notices, head.id.0));
        tracing::info!(
            socket = %control.socket.display(),
            store = %control.store.display(),
            revision = head.id.0,
            eams = head.rows,
            "control socket"
        );
        let mappings = Mappings::new(opened.store, Arc::new(ConfiguredRules::new(settings)));
        let (config, files) = (config.to_owned(), FilesInForce::default());
        Ok(Self { listener, mappings, notices, local_mtu, last_exit, config, files, digest })
    }

    /// What the store's mappings hash to.
    pub(crate) const fn digest(&self) -> Digest {
        self.digest
    }

    /// What takes part in reloads.
    pub(crate) fn source(&self) -> Box<dyn MappingSource> {
        Box::new(StoredMappings::new(self.mappings.source(), self.config.clone(), self.files.clone()))
    }

    /// What there is to say about the store, for metrics.
    pub(crate) fn summary(&self) -> AskStore {
        let (mappings, notices) = (self.mappings.clone(), Arc::clone(&self.notices));
        let (last_exit, files) = (self.last_exit.clone(), self.files.clone());
        Box::new(move || {
            let (revision, staged) = mappings.summary();
            let complaints = notices.in_force(revision.id).count() + mappings.trouble().len();
            StoreSummary {
                revision,
                staged,
                complaints: complaints as u64,
                last_exit: last_exit.clone(),
                files_changed: files.changed().len() as u64,
            }
        })
    }

    /// Answers from now on. `ports` are the names of the ports; `log_lost` says how many lines of the log were lost.
    pub(crate) fn serve(
        self,
        handle: ControlHandle,
        observatory: Observatory,
        ports: Vec<String>,
        log_lost: Arc<LogLost>,
        pages: Arc<Pages>,
        meters: Arc<Meters>,
    ) -> Result<Server, ControlError> {
        self.mappings.start(Box::new(Published::new(handle.clone())));
        let relay = Arc::new(RunningRelay {
            mappings: self.mappings,
            handle,
            observed: Observed { observatory, ports },
            notices: self.notices,
            log_lost,
            pages,
            meters,
            local_mtu: self.local_mtu,
            last_exit: self.last_exit,
            files: self.files,
        });
        Ok(Server::start(self.listener, relay, Limits::default())?)
    }
}
