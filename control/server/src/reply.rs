//! Answers as HTTP has them.

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use control_api::{Code, Finding, Refusal};
use serde::Serialize;

/// An answer, or a refusal.
pub(crate) type Reply = Result<Response, No>;

/// A refusal as a response.
pub(crate) struct No(pub(crate) Refusal);

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl IntoResponse for No {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = json(&self.0);
        *response.status_mut() = status;
        response
    }
}

/// A JSON body.
pub(crate) fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => with_type(Body::from(bytes), "application/json"),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A body of that type.
pub(crate) fn with_type(body: Body, content_type: &'static str) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The revision an answer is about, as `If-Match` wants it.
pub(crate) fn with_etag(mut response: Response, revision: u64) -> Response {
    if let Ok(value) = HeaderValue::from_str(&format!("\"{revision}\"")) {
        response.headers_mut().insert(ETAG, value);
    }
    response
}

/// One JSON object a line, appended to `lines`.
pub(crate) fn push_line(lines: &mut Vec<u8>, value: &impl Serialize) {
    let length = lines.len();
    match serde_json::to_writer(&mut *lines, value) {
        Ok(()) => lines.push(b'\n'),
        Err(_) => lines.truncate(length),
    }
}

/// The bytes of some lines.
pub(crate) fn chunk(lines: Vec<u8>) -> Result<Bytes, std::convert::Infallible> {
    Ok(Bytes::from(lines))
}

/// Findings as a refusal. There is one at least.
pub(crate) fn refused(findings: Vec<Finding>, more: u64) -> Refusal {
    let mut refusal = match &findings[..] {
        [only] if more == 0 => {
            Refusal::new(Code::Refused, format!("{}: {}", only.value, only.message), only.remedy.clone())
        }
        all => {
            let count = all.len() as u64 + more;
            let message = format!("{count} of the changes are refused");
            Refusal::new(Code::Refused, message, "correct them; nothing was changed")
        }
    };
    (refusal.findings, refusal.more) = (findings, more);
    refusal
}
