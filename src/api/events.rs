//! `GET /v1/events`: everything that is pushed, as server-sent events.
//!
//! `event:` is `resource.event`, `data:` the envelope, `id:` the position after it. Events of one
//! commit share a position, which only the last of them carries: whoever reconnects after a part of
//! them gets all of them again, and loses none.
//!
//! Comments say what events can't: `from POSITION`, first of all, where the stream begins, so that who
//! began now can come back before the first event; and `events A to B are no longer kept`, when
//! whoever resumes was away for longer than events are kept.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{Stream, unfold};
use tokio::sync::OwnedSemaphorePermit;

use super::error::{ApiError, code};
use super::input::{Query, quoted, read_query};
use super::operation::{Operation, Routes};
use super::request::CallerIs;
use crate::app::App;
use crate::app::credentials::{Caller, Credentials};
use crate::app::outbox::Follower;
use crate::app::tasks::Stop;
use crate::store::records::{EnvelopeRecord, EventRecord};

/// What this file serves.
pub fn routes() -> Routes {
    Routes::tagged("Data").add(
        Operation::get(
            "/v1/events",
            "stream_events",
            "Streams everything that is pushed",
        )
        .query(|q| {
            from_of(q);
        })
        .header(
            "Last-Event-ID",
            "Goes on after this event; it counts before `from`.",
        )
        .answers_bytes(StatusCode::OK, "text/event-stream")
        .example_query(&[("from", "0")]),
        stream,
    )
}

/// Commits read from the store at once.
const STEP: usize = 100;

/// How often a silent stream shows that it lives: middle boxes cut after a minute, as a rule.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// `GET /v1/events?from=`: what was committed after the position in `Last-Event-ID`, else in
/// `from`, else from now on. `from=0` is the oldest kept. A caller bound to a resource space gets
/// the events of that space. Errors: 400, 503 too many readers.
pub async fn stream(
    State(app): State<App>,
    CallerIs(caller): CallerIs,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let newest = app.outbox.position();
    // A position of before an older backup was restored lies ahead: such a reader begins now rather
    // than miss everything until the numbers have caught up.
    let after = start_of(&uri, &headers)?.map_or(newest, |after| after.min(newest));
    let admission = app.outbox.admit().ok_or_else(|| {
        ApiError::unavailable("too many readers follow events, try later or end one")
    })?;
    let reader = Reader {
        follower: app.outbox.follow(after),
        after,
        stop: app.tasks.stop(),
        caller,
        credentials: app.credentials,
        // Sent at once, so that the caller sees the stream open.
        waiting: VecDeque::from([Event::default().comment(format!("from {after}"))]),
        _admission: admission,
    };
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(unfold(reader, Reader::step)).keep_alive(keep_alive))
}

fn start_of(uri: &Uri, headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let from = read_query(uri, from_of)?;
    let Some(last) = headers.get("last-event-id") else {
        return Ok(from);
    };
    let text = last.to_str().unwrap_or("?");
    let refused = || ApiError::invalid(format!("Last-Event-ID: {}", wrong_position(text)));
    position(text).map(Some).ok_or_else(refused)
}

fn from_of(query: &Query<'_>) -> Option<u64> {
    let text = query.raw_like("from", "^[0-9]{1,19}$")?;
    let found = position(text);
    if found.is_none() {
        query.problem(code::INVALID, "from", wrong_position(text));
    }
    found
}

fn position(text: &str) -> Option<u64> {
    let is_digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| is_digits && text.len() < 20)
}

fn wrong_position(text: &str) -> String {
    format!("got {}, takes the id of an event", quoted(text))
}

struct Reader {
    follower: Follower,
    /// The newest position that was read.
    after: u64,
    stop: Stop,
    /// Hears of his resource space alone, when he is bound to one.
    caller: Caller,
    credentials: Arc<Credentials>,
    waiting: VecDeque<Event>,
    /// Counts this reader as long as it lives.
    _admission: OwnedSemaphorePermit,
}

impl Reader {
    async fn step(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some((Ok(event), self));
            }
            let read = tokio::select! {
                () = self.stop.requested() => return None,
                read = self.follower.next(STEP) => read,
            };
            match read {
                Ok(events) if events.is_empty() => return None,
                // Revoked or changed meanwhile.
                Ok(_) if !self.credentials.stands(&self.caller) => return None,
                Ok(events) => {
                    self.tell_gap(&events);
                    for (position, record) in events {
                        self.after = position;
                        self.queue(position, &record);
                    }
                }
                Err(error) => {
                    // The reader comes back with its last id.
                    tracing::warn!(%error, "a stream of events ends");
                    return None;
                }
            }
        }
    }

    /// Positions have no gaps but where old events were thrown away. Who asked for the oldest one
    /// that is kept misses none.
    fn tell_gap(&mut self, events: &[(u64, EventRecord)]) {
        let next = self.after.saturating_add(1);
        let first = events.first().map_or(next, |(position, _)| *position);
        if self.after > 0 && first > next {
            let last = first.saturating_sub(1);
            let text = format!("events {next} to {last} are no longer kept");
            self.waiting.push_back(Event::default().comment(text));
        }
    }

    fn queue(&mut self, position: u64, record: &EventRecord) {
        let bound = self.caller.space.as_ref();
        let is_told = |envelope: &&EnvelopeRecord| {
            bound.is_none_or(|space| envelope.app_id.as_ref() == Some(space))
        };
        let told: Vec<&EnvelopeRecord> = record.envelopes.iter().filter(is_told).collect();
        let last = told.len().saturating_sub(1);
        for (i, envelope) in told.into_iter().enumerate() {
            let name = format!("{}.{}", envelope.resource, envelope.event);
            let event = Event::default().event(name).data(&envelope.json);
            self.waiting.push_back(match i == last {
                true => event.id(position.to_string()),
                false => event,
            });
        }
    }
}
