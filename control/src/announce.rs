//! The routes that lead traffic to the relay, and when they are there.
//!
//! Announcing and forwarding are two states: whatever is withdrawn, the relay translates all that still comes.
//!
//! `plan` says what leads here; `damping` keeps a relay that comes and goes away for a while; `drain` takes it out of service;
//! `announcer` puts the three together with the tests of [`crate::health`]; `senders` knows who still sends.

mod announcer;
mod damping;
mod drain;
mod plan;
mod senders;

pub use self::announcer::{Announcement, Announcer, Destination, Standing};
pub use self::drain::{DrainPhase, DrainStatus};
pub use self::plan::destinations;
pub use self::senders::{Sender, Senders};
