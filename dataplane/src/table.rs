//! Tables: built once by control, then read-only.

pub mod routing;
