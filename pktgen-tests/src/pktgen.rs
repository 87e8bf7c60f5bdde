//! The traffic generator and receiver: packets at full speed into a device, and every one that comes out verified.
//!
//! A packet's life, in the order of the modules: [`config`] says what is wanted, [`stream`] makes of it what is sent and
//! what should arrive, each formatted ([`form`]) once as a [`template`] over a network and a transport header; [`pick`] and
//! [`address`] give packet number n its flow and addresses, [`tag`] is what it carries so that its receiver can do the
//! same. [`sender`] writes packets when [`pace`] says that they are due; [`receiver`] takes them, [`verify`] compares
//! them with what they should be, [`order`] finds those that are lost, came twice or were overtaken, and [`tally`]
//! counts. [`engine`] runs both sides as a trial, on one lcore or two; [`outcome`] is what a trial found.
//!
//! [`procedure`] has the procedures of RFC 2544 and RFC 8219 as sequences of trials, [`report`] their results, [`plot`] draws
//! them.
//!
//! Nothing here knows how the device works: it may be any translator, or a forwarder in its place.

pub mod address;
pub mod args;
mod bytes;
mod command;
pub mod config;
pub mod eams;
pub mod engine;
pub mod error;
pub mod form;
mod hash;
mod network;
pub mod order;
pub mod outcome;
pub mod pace;
pub mod pick;
pub mod plot;
pub mod ports;
pub mod procedure;
pub mod receiver;
pub mod report;
pub mod search;
pub mod sender;
pub mod stream;
pub mod tag;
pub mod tally;
pub mod template;
mod transport;
pub mod verify;
