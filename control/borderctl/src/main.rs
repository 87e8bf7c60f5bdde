//! `borderctl`: talks to a running relay over its control socket.
//!
//! `args.rs` is the command line, `verbs/` what each word does: a request, and its typed answer as a table for people or as JSON
//! for programs. `client.rs` speaks HTTP, `import/` reads other people's files, `view/` writes for people.
#![forbid(unsafe_code)]

mod args;
mod client;
mod error;
mod generate;
mod import;
mod verbs;
mod view;

fn main() -> std::process::ExitCode {
    args::run()
}
