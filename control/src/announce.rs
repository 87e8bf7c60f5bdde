//! The routes that lead traffic to the relay, and when they are there.

mod announcer;
mod plan;

pub use self::announcer::Announcer;
pub use self::plan::destinations;
