//! Answers that say no.

use serde::{Deserialize, Serialize};

use crate::{ApiRange, Revision};

/// Why not, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request cannot be understood.
    InvalidRequest,
    /// A version of the API that the relay does not speak.
    UnsupportedApi,
    /// No such path, mapping or revision.
    NotFound,
    /// That path takes another method.
    MethodNotAllowed,
    /// Somebody else changed the mappings since.
    Conflict,
    /// A revision of somebody else awaits confirmation.
    Pending,
    /// A change must say which revision it is meant for: `If-Match`.
    PreconditionRequired,
    /// Understood, and refused: `findings` say why.
    Refused,
    /// Too much at once.
    TooLarge,
    /// The client was too slow.
    Timeout,
    /// Not now: the store cannot be written, or the relay is busy.
    Unavailable,
    /// A mistake of the relay.
    Internal,
}

impl Code {
    /// The HTTP status that goes with it.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidRequest | Self::UnsupportedApi => 400,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Timeout => 408,
            Self::Conflict | Self::Pending => 409,
            Self::TooLarge => 413,
            Self::Refused => 422,
            Self::PreconditionRequired => 428,
            Self::Internal => 500,
            Self::Unavailable => 503,
        }
    }
}

/// Something about one mapping: a reason to refuse it, or a warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Finding {
    /// The line of the file that was imported, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The value it is about.
    pub value: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// The body of every answer that says no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Refusal {
    /// For programs.
    pub code: Code,
    /// What is wrong, naming it.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
    /// Each mapping that is in the way, as far as they were listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Further findings that were not listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u64,
    /// With `conflict` and `pending`: the revision that is in the way, with who committed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Box<Revision>>,
    /// With `unsupported_api`: what the relay speaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<ApiRange>,
}

impl Refusal {
    /// With nothing but its texts.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            remedy: remedy.into(),
            findings: Vec::new(),
            more: 0,
            revision: None,
            api: None,
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}; {}", self.message, self.remedy)
    }
}

impl std::error::Error for Refusal {}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
