//! Changes of mappings: at once, or staged in the candidate.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::header::IF_MATCH;
use axum::http::{HeaderMap, HeaderValue, Uri};
use control_api::{Candidate, Change, Committed, LINES, Refusal, path};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{App, Client, Query, invalid};
use crate::body::{self, Begun, Edits};
use crate::relay::Peer;
use crate::reply::{Reply, json, with_etag};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(change)).routes(routes!(candidate, discard)).routes(routes!(commit))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Why: kept in the history.
    comment: Option<String>,
    /// Seconds after which the change is undone unless it is confirmed, 1 to 86400.
    confirm_within: Option<u64>,
    /// Put the changes into the candidate instead of committing them. The candidate has 512 MB of comments at most, and what it
    /// would make of the store 4 million mappings: what goes beyond is refused with 413, and the candidate stays as it was.
    #[serde(default)]
    stage: bool,
    /// Mappings of the store that are not named go.
    #[serde(default)]
    replace: bool,
}

/// A body of changes. What a small one says is looked at when its turn has come: until then it takes no more memory than it has bytes.
enum Received {
    Small(Vec<u8>),
    Large(Edits),
}

/// Changes mappings, all or none. Answered when they are in force on every worker and durable.
#[utoipa::path(post, path = path::CHANGES,
    params(
        Options,
        ("If-Match" = Option<String>, Header, description = "The revision the change was decided on, or `*`; not needed to stage"),
        ("Idempotency-Key" = Option<String>, Header, description = "A request repeated with the same key is carried out once"),
    ),
    request_body(content = Change, content_type = LINES, description = "one object a line"),
    responses(
        (status = 200, body = Committed), (status = 400, body = Refusal), (status = 408, body = Refusal),
        (status = 409, body = Refusal), (status = 413, body = Refusal), (status = 422, body = Refusal),
        (status = 428, body = Refusal), (status = 503, body = Refusal),
    ))]
async fn change(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Extension(client): Client,
    Query(options): Query<Options>,
    request: Request,
) -> Reply {
    let (parts, body) = request.into_parts();
    let mut headers = parts.headers;
    if options.stage {
        headers.entry(IF_MATCH).or_insert(HeaderValue::from_static("*"));
    }
    let mut intent = app.intent(peer, &parts.uri, &headers, options.comment, options.confirm_within).await?;
    let Options { stage, replace, .. } = options;
    let (received, receiving) = match body::begin(body, &app.limits).await? {
        Begun::Small(bytes) => (Received::Small(bytes), None),
        Begun::Large(large) => {
            let turn = app.turn_to_receive().await?;
            (Received::Large(large.edits().await?), Some(turn))
        }
    };
    let limits = Arc::clone(&app.limits);
    let committed = app
        .change(move |relay| {
            // It is this one's turn: another body may be taken in meanwhile. Sooner, every connection could have one waiting.
            drop(receiving);
            if client.has_left() {
                return Err(invalid("the client has left before its turn came", "ask again"));
            }
            let (edits, hash) = match received {
                Received::Small(bytes) => body::edits(&bytes, &limits)?,
                Received::Large(edits) => edits,
            };
            intent.request.extend_from_slice(&hash.to_be_bytes());
            match stage {
                true => relay.stage(&intent, edits, replace),
                false => relay.change(&intent, edits, replace),
            }
        })
        .await?;
    Ok(tagged(&committed))
}

/// What is staged, against what is in force.
#[utoipa::path(get, path = path::CANDIDATE, responses((status = 200, body = Candidate)))]
async fn candidate(State(app): State<App>) -> Reply {
    let candidate = app.ask(|relay| relay.candidate()).await?;
    let from = candidate.diff.from;
    Ok(with_etag(json(&candidate), from))
}

/// Throws away what is staged, and says what it was.
#[utoipa::path(delete, path = path::CANDIDATE, responses((status = 200, body = Candidate)))]
async fn discard(State(app): State<App>) -> Reply {
    Ok(json(&app.change(|relay| relay.discard()).await?))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct CommitOptions {
    /// Why: kept in the history.
    comment: Option<String>,
    /// Seconds after which the change is undone unless it is confirmed, 1 to 86400.
    confirm_within: Option<u64>,
}

/// Commits what is staged.
#[utoipa::path(post, path = path::COMMIT,
    params(
        CommitOptions,
        ("If-Match" = Option<String>, Header, description = "The revision the candidate was looked at against, or `*`"),
        ("Idempotency-Key" = Option<String>, Header, description = "A request repeated with the same key is carried out once"),
    ),
    responses(
        (status = 200, body = Committed), (status = 409, body = Refusal), (status = 413, body = Refusal),
        (status = 422, body = Refusal), (status = 428, body = Refusal), (status = 503, body = Refusal),
    ))]
async fn commit(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Query(options): Query<CommitOptions>,
    uri: Uri,
    headers: HeaderMap,
) -> Reply {
    let intent = app.intent(peer, &uri, &headers, options.comment, options.confirm_within).await?;
    Ok(tagged(&app.change(move |relay| relay.commit(&intent)).await?))
}

fn tagged(committed: &Committed) -> axum::response::Response {
    with_etag(json(committed), committed.revision.id)
}
