//! Control.
#![forbid(unsafe_code)]
