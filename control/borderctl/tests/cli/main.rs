//! Every verb, right and wrong, for people and for programs, against a relay without ports.

mod documents;
mod import;
mod lab;
mod verbs;
