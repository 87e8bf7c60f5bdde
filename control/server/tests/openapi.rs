//! The description of the API is checked in: `openapi.json`. Whoever changes what the socket speaks changes that file too, and sees
//! in its difference what clients will see. `UPDATE_DOCUMENTS=1 cargo test -p control-server --test openapi` writes it anew.
#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

use std::path::PathBuf;

use control_server::openapi;
use serde_json::Value;

fn checked_in() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../api/openapi.json")
}

#[test]
fn the_document_is_the_one_that_is_checked_in() {
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        std::fs::write(checked_in(), openapi()).unwrap();
    }
    let there = std::fs::read_to_string(checked_in()).unwrap_or_default();
    assert!(
        there == openapi(),
        "control/api/openapi.json is not what the code says; within v1 only additions are allowed. \
         UPDATE_DOCUMENTS=1 writes it anew"
    );
}

#[test]
fn it_describes_every_path() {
    use control_api::path::*;
    let document: Value = serde_json::from_str(&openapi()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let named = [
        ROOT,
        STATUS,
        EAMS,
        EAM,
        LOOKUP,
        POOLS,
        CHANGES,
        CANDIDATE,
        COMMIT,
        CONFIRM,
        ROLLBACK,
        CHECK,
        DIFF,
        HISTORY,
        RELOAD,
        PORTS,
        ROUTES,
        NEIGHBORS,
        WORKERS,
        COUNTERS,
        METRICS,
        LOAD,
        EAM_COUNTERS,
        EXPLAIN,
        EVENTS,
        DROPS,
        DROP_SAMPLES,
        DROP_SAMPLE,
        CAPTURE,
        ANNOUNCEMENT,
        DRAIN,
        UNDRAIN,
        DIGEST,
    ];
    for path in named {
        assert!(paths.contains_key(path), "{path} is not described");
    }
    assert_eq!(paths.len(), named.len(), "a path of openapi.json has no name in control_api::path");
}
