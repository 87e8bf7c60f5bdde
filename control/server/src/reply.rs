//! Answers as HTTP has them.

use std::borrow::Cow;

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use control_api::{Code, Finding, Refusal};
use serde::Serialize;
use shown::Shown;

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
        let mut response = json(&shown(self.0));
        *response.status_mut() = status;
        response
    }
}

/// A refusal without anything that a terminal would obey: it quotes paths, headers and bodies of the request.
fn shown(mut refusal: Refusal) -> Refusal {
    let show = |text: &mut String| *text = Shown(&*text).to_string();
    [&mut refusal.message, &mut refusal.remedy].into_iter().for_each(show);
    refusal.findings.iter_mut().for_each(show_finding);
    refusal
}

/// The same for one finding.
pub(crate) fn show_finding(finding: &mut Finding) {
    let texts = [&mut finding.value, &mut finding.message, &mut finding.remedy];
    texts.into_iter().for_each(|text| *text = Shown(&*text).to_string());
}

/// A JSON body.
pub(crate) fn json(value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => with_type(Body::from(shown::json(&text).into_owned()), "application/json"),
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
    if serde_json::to_writer(&mut *lines, value).is_err() {
        lines.truncate(length);
        return;
    }
    let escaped = match std::str::from_utf8(&lines[length..]).map(shown::json) {
        Ok(Cow::Owned(escaped)) => Some(escaped),
        _ => None,
    };
    if let Some(escaped) = escaped {
        lines.truncate(length);
        lines.extend_from_slice(escaped.as_bytes());
    }
    lines.push(b'\n');
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
