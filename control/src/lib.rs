//! The control side of the relay: what it is told (configuration), what the kernel knows (links, addresses, routes,
//! neighbours), and what the workers get to see of both.
#![forbid(unsafe_code)]

pub mod actor;
pub mod announce;
pub mod config;
pub mod eam_set;
mod errands;
pub mod health;
pub mod kernel;
pub mod observe;
pub mod plan;
pub mod reload;
