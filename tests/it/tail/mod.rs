//! `strait tail`: nothing is lost and nothing told twice, whatever happens to connections, server
//! and readers.

mod fake;
mod process;
mod served;

use std::time::Duration;

use strait::cli::tail::{Endpoint, Heard, Pauses, Start, TailError, follow};

/// So that tests need not wait.
const PAUSES: Pauses = Pauses {
    first: Duration::from_millis(1),
    longest: Duration::from_millis(20),
};

/// What was heard of a server: the data of events, and notes.
#[derive(Debug, Default)]
struct Told {
    events: Vec<String>,
    notes: Vec<String>,
}

/// Follows until `count` events were told, or to the end.
async fn hear(endpoint: &Endpoint, start: Start, count: usize) -> (Told, Result<(), TailError>) {
    let mut told = Told::default();
    let outcome = {
        let mut hear = |heard: Heard<'_>| match heard {
            Heard::Note(text) => {
                told.notes.push(text);
                true
            }
            Heard::Event(event) => {
                told.events.push(event.data.clone());
                told.events.len() < count
            }
        };
        let following = follow(endpoint, start, PAUSES, &mut hear);
        let outcome = tokio::time::timeout(Duration::from_secs(30), following).await;
        outcome.unwrap_or_else(|_| panic!("{count} events don't come"))
    };
    (told, outcome)
}
