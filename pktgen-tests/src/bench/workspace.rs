//! Where the sources are and what cargo makes of them.

use std::path::{Path, PathBuf};

/// The working tree this program was built from.
pub(super) fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// Its target directory.
pub(super) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| tree().join("target"), PathBuf::from)
}
