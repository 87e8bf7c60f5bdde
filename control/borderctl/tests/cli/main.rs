//! Every verb, right and wrong, for people and for programs, against a relay without ports.
#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

mod documents;
mod exchanges;
mod import;
mod lab;
mod numbers;
mod observed;
mod people;
mod service;
mod terminal;
mod top;
mod verbs;
