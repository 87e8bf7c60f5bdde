//! The stream of events.
//!
//! All readers share one bounded ring. Who falls behind is told how many he missed, and has to ask again: a stream with a hole in
//! it is not one to go on with.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::State;
use control_api::{Event, LINES, path};
use futures_util::stream;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use crate::relay::Events;
use crate::reply::{Reply, chunk, push_line, with_type};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(events))
}

/// What happens from now on, one object a line, until the client goes or falls behind.
#[utoipa::path(get, path = path::EVENTS, responses(
    (status = 200, body = Event, content_type = LINES, description = "one object a line"),
))]
async fn events(State(app): State<App>) -> Reply {
    let Events { revision, receiver } = app.ask(|relay| Ok(relay.events())).await?;
    let first = Some(Event::Begin { revision });
    let body = Body::from_stream(stream::unfold((first, Some(receiver)), next));
    Ok(with_type(body, LINES))
}

type Rest = (Option<Event>, Option<Receiver<Event>>);

async fn next((first, receiver): Rest) -> Option<(Result<Bytes, Infallible>, Rest)> {
    let mut receiver = receiver?;
    let (event, rest) = match first {
        Some(event) => (event, Some(receiver)),
        None => match receiver.recv().await {
            Ok(event) => (event, Some(receiver)),
            Err(RecvError::Lagged(lost)) => (Event::Lost { lost }, None),
            Err(RecvError::Closed) => return None,
        },
    };
    let mut line = Vec::new();
    push_line(&mut line, &event);
    Some((chunk(line), (None, rest)))
}
