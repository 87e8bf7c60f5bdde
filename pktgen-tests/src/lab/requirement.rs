//! What a test needs from the machine. A test that cannot run says so, and is a failure where nothing may be skipped.

use std::io::Write;

use super::{Cmd, relay};

/// One precondition.
#[derive(Debug, Clone, Copy)]
pub enum Need {
    /// Root, and a kernel that makes namespaces.
    Root,
    /// The relay's binary.
    Relay,
    /// A program on the path.
    Program(&'static str),
}

impl Need {
    fn missing(self) -> Option<String> {
        match self {
            Self::Root if !nix::unistd::geteuid().is_root() => Some("needs root".into()),
            Self::Root => None,
            Self::Relay if relay::binary().is_none() => {
                Some("no relay binary: build it with `cargo build --release`, or set BORDERLINE_BIN".into())
            }
            Self::Relay => None,
            Self::Program(name) => {
                let found = Cmd::new("sh").arg("-c").arg(format!("command -v {name}")).ok().is_ok();
                (!found).then(|| format!("{name} is not installed"))
            }
        }
    }
}

/// True, after saying why on standard error, when the test cannot run here.
///
/// # Panics
/// Instead of skipping when `BORDERLINE_REQUIRE_E2E=1`.
#[must_use]
pub fn skip_unless(needs: &[Need]) -> bool {
    let Some(reason) = needs.iter().find_map(|need| need.missing()) else {
        return false;
    };
    skip(&reason);
    true
}

/// Says that a test cannot run here.
fn skip(reason: &str) {
    assert!(!is_set("BORDERLINE_REQUIRE_E2E"), "may not be skipped here: {reason}");
    say(reason);
}

/// Says that the rest of a test cannot run because the kernel of this machine lacks something. Nobody could provide it,
/// so this is never a failure.
pub fn skip_for_kernel(reason: &str) {
    say(reason);
}

/// Written past the harness, which would hide the output of a test that passes.
fn say(reason: &str) {
    writeln!(std::io::stderr(), "SKIPPED: {reason}").ok();
}

/// Whether the short form of long tests is asked for (`BORDERLINE_QUICK=1`).
#[must_use]
pub fn is_quick() -> bool {
    is_set("BORDERLINE_QUICK")
}

fn is_set(name: &str) -> bool {
    std::env::var(name).is_ok_and(|value| value == "1")
}
