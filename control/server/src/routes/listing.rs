//! Long lists, made as they are read.
//!
//! A slice is looked for on a thread that may block, one for all lists at a time, in turns. So whatever a list leaves out, other
//! requests have the socket's thread meanwhile, and whoever changes something waits for one slice at most.

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::App;
use crate::connections::Busy;
use crate::relay::Slices;
use crate::reply::push_line;

/// A line is about that long.
const LINE: usize = 128;

/// What is left of a list.
struct Rest<T> {
    slices: Slices<T>,
    walking: Arc<Mutex<()>>,
    /// Until its end the connection makes room for no other.
    _busy: Busy,
}

/// A list as a body, one object a line.
pub(super) fn body<T: Serialize + 'static>(app: &App, slices: Slices<T>, busy: Busy) -> Body {
    let rest = Rest { slices, walking: Arc::clone(&app.walking), _busy: busy };
    Body::from_stream(stream::try_unfold(rest, next))
}

/// The next lines, when the client has taken those before.
async fn next<T: Serialize + 'static>(mut rest: Rest<T>) -> io::Result<Option<(Bytes, Rest<T>)>> {
    loop {
        let turn = Arc::clone(&rest.walking).lock_owned().await;
        let walk = move || {
            let lines = rest.slices.next().map(|slice| in_lines(&slice));
            drop(turn);
            (lines, rest)
        };
        let lines;
        (lines, rest) = spawn_blocking(walk).await?;
        match lines {
            Some(lines) if lines.is_empty() => {}
            lines => return Ok(lines.map(|lines| (lines.into(), rest))),
        }
    }
}

fn in_lines<T: Serialize>(slice: &[T]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(slice.len() * LINE);
    slice.iter().for_each(|item| push_line(&mut lines, item));
    lines
}
