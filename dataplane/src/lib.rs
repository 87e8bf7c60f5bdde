//! The packet's walk.
#![deny(unsafe_code)]

pub mod buffer;
pub mod io;
