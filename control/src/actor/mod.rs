//! The control actor: the one owner of what the workers see.
//!
//! It owns the publisher, the ports and workers (as a [`Machine`]), and the twins. Whoever wants something is a sender:
//! signals, the follower of the kernel's state, the builder, a control socket. They talk through a [`ControlHandle`],
//! whose queue is bounded, and through the results of work the actor itself ordered, of which there is never more than
//! was ordered. The actor only ever does what takes microseconds: it swaps pointers, reads counters, passes orders on, and compiles changes of routes
//! one by one.
//! Reading files happens on a thread for each reload (`reader`), building tables on the builder's thread
//! (`builder`), freeing them on another. How long the actor was ever busy in one go is measured (`stall`) and part of
//! the counters.
//!
//! Modules: `handle` and `message`, what others see; `machine`, what the actor needs of ports and workers; `relay`, the
//! actor; `links`, `watch`, `service` and `reloads`, parts of it; `builder` and `reader`, its threads; `stall`.

mod activity;
mod builder;
mod handle;
mod links;
mod loads;
mod machine;
mod macs;
mod message;
mod reader;
mod relay;
mod reloads;
mod routing;
mod service;
mod stall;
#[cfg(test)]
mod tests;
mod watch;

pub use self::activity::{Activity, Flow};
pub use self::builder::{MappingSource, UpdateError};
pub use self::handle::{ControlHandle, Gone, Updated};
pub use self::machine::{Link, Machine, PortCounts, PortFacts};
pub use self::message::{
    Counters, Drained, InService, LastReload, PortStatus, ReloadOutcome, Reloaded, Reloads, Stalls, Status,
    WorkerStatus,
};
pub use self::relay::{Actor, ActorParts, LINGER};
pub use self::reloads::log_warnings;
pub use self::stall::{Longest, Stall, Watched};
