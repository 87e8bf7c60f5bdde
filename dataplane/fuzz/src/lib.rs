//! What the fuzz targets share: the oracle of the dataplane's own tests, and one for configurations.

#[path = "../../tests/oracle/mod.rs"]
pub mod oracle;

pub mod settings;

/// Ends the run with the reason, which libFuzzer reports along with the input.
///
/// # Panics
/// Always, when there is something wrong.
pub fn judge(judgement: oracle::Judgement) {
    if let Err(why) = judgement {
        panic!("{why}");
    }
}
