//! One line of the table: a storm, a witness, the limit, and what it saw.

use crate::lab::LabError;

/// What one witness saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The storm, with its rate.
    pub storm: String,
    /// Who looked.
    pub witness: String,
    /// What must hold.
    pub limit: String,
    /// What was seen.
    pub measured: String,
    /// Whether the limit was kept.
    pub held: bool,
}

impl Row {
    /// A storm that could not be raised or whose stand broke is not one that was withstood.
    #[must_use]
    pub fn failed(storm: &str, error: &LabError) -> Self {
        Self {
            storm: storm.into(),
            witness: "laboratory".into(),
            limit: "runs to its end".into(),
            measured: error.to_string(),
            held: false,
        }
    }
}
