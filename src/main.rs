//! Placeholder entry point; replaced as the application is wired up.
fn main() {}
