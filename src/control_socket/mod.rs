//! The control socket of a running relay: what `control-server` serves, put together with the store and the control actor.
//!
//! `tables.rs` publishes what changes through the socket, `source.rs` takes part in reloads, `rules.rs` holds mappings against the
//! configuration, `notices.rs` keeps what the store said at the start, `answers.rs` is everything the socket is asked.

mod answers;
mod notices;
mod routing;
mod rules;
mod source;
mod tables;

use std::sync::Arc;

use control::actor::{ControlHandle, MappingSource};
use control::config;
use control_server::mappings::Mappings;
use control_server::{Limits, ListenError, Listener, Server};
use eam_store::{Notice, Options, Store, StoreError};

use self::answers::{LogLost, RunningRelay};
use self::notices::Notices;
use self::rules::ConfiguredRules;
use self::source::StoredMappings;
use self::tables::Published;

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
    notices: Notices,
}

impl ControlSocket {
    /// Makes the socket, so that a second relay ends here, and opens the store.
    pub(crate) fn open(
        control: &config::Control,
        settings: &config::Translation,
    ) -> Result<Self, ControlError> {
        let listener = Listener::bind(&control.socket, control.group.as_deref())?;
        let opened = Store::open(&control.store, Options::default())?;
        for notice in &opened.notices {
            match notice {
                Notice::Created => tracing::info!(store = %control.store.display(), "{notice}"),
                _ => tracing::warn!(store = %control.store.display(), "{notice}"),
            }
        }
        let head = opened.store.head();
        let notices = Notices::new(&opened.notices, head.id.0);
        tracing::info!(
            socket = %control.socket.display(),
            store = %control.store.display(),
            revision = head.id.0,
            eams = head.rows,
            "control socket"
        );
        let mappings = Mappings::new(opened.store, Arc::new(ConfiguredRules::new(settings)));
        Ok(Self { listener, mappings, notices })
    }

    /// What takes part in reloads.
    pub(crate) fn source(&self) -> Box<dyn MappingSource> {
        Box::new(StoredMappings::new(self.mappings.source()))
    }

    /// Answers from now on. `log_lost` says how many lines of the log were lost.
    pub(crate) fn serve(self, handle: ControlHandle, log_lost: LogLost) -> Result<Server, ControlError> {
        self.mappings.start(Box::new(Published::new(handle.clone())));
        let relay =
            Arc::new(RunningRelay { mappings: self.mappings, handle, notices: self.notices, log_lost });
        Ok(Server::start(self.listener, relay, Limits::default())?)
    }
}
