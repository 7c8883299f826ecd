//! Connection after connection to the events of one server.
//!
//! ```text
//! open -200-> read -end, error, silence-> pause -> open (Last-Event-ID) -> …
//!   '-refused (4xx), or nothing at the first attempt-> end
//! ```
//!
//! The pause doubles up to a bound, with some chance in it so that many readers do not come back at
//! once; a stream that brought something makes it short again.

use std::str::FromStr;
use std::time::Duration;

use super::connection::{Endpoint, Lost};
use super::feed::{Feed, FeedError, Part, ServerEvent};
use super::place::Place;

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Now,
    /// After this position; 0: with the oldest that is kept.
    After(u64),
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match text.parse() {
            _ if text == "now" => Ok(Self::Now),
            Ok(position) if is_digits && text.len() < 20 => Ok(Self::After(position)),
            _ => Err("takes now, or the id of an event: a number of up to 19 digits".to_owned()),
        }
    }
}

/// Between two attempts.
#[derive(Debug, Clone, Copy)]
pub struct Pauses {
    pub first: Duration,
    pub longest: Duration,
}

/// What comes of following.
#[derive(Debug)]
pub enum Heard<'a> {
    Event(&'a ServerEvent),
    /// For whoever watches: a lost connection, a gap.
    Note(String),
}

/// Why following ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TailError {
    #[error("{url} {message}")]
    Refused {
        url: String,
        status: u16,
        message: String,
    },
    /// At the first attempt: nobody says that there is a server at all.
    #[error("{url} can't be followed: {message}")]
    Unreachable { url: String, message: String },
    #[error("{url} sends what is no stream of events: {source}")]
    Feed { url: String, source: FeedError },
}

impl TailError {
    /// Stable word; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "refused",
            Self::Unreachable { .. } => "unreachable",
            Self::Feed { .. } => "feed",
        }
    }
}

/// Tells every event once, in order, until `hear` answers false. Errors: the server can't be
/// reached at first, or refuses at any time.
pub async fn follow(
    endpoint: &Endpoint,
    start: Start,
    pauses: Pauses,
    hear: &mut dyn FnMut(Heard<'_>) -> bool,
) -> Result<(), TailError> {
    let after = match start {
        Start::Now => None,
        Start::After(position) => Some(position),
    };
    let mut reader = Reader {
        endpoint,
        place: Place::from(after),
        hear,
        was_open: false,
        is_lively: false,
    };
    let mut pause = pauses.first;
    loop {
        let lost = match reader.read().await? {
            Ended::ByHearer => return Ok(()),
            Ended::Lost(lost) => lost,
        };
        let url = endpoint.url().to_owned();
        match lost {
            Lost::Refused { status, message } => {
                return Err(TailError::Refused {
                    url,
                    status,
                    message,
                });
            }
            Lost::Broken(message) if !reader.was_open => {
                return Err(TailError::Unreachable { url, message });
            }
            Lost::Broken(_) => {}
        }
        if std::mem::take(&mut reader.is_lively) {
            pause = pauses.first;
        }
        let chance = pause.mul_f64(fastrand::f64() / 4.0);
        let wait = pause.saturating_add(chance);
        let seconds = wait.as_secs_f64();
        let text = format!("{url}: {}; again in {seconds:.1} s", lost.message());
        if !(reader.hear)(Heard::Note(text)) {
            return Ok(());
        }
        tokio::time::sleep(wait).await;
        pause = pause.saturating_mul(2).min(pauses.longest);
    }
}

enum Ended {
    ByHearer,
    Lost(Lost),
}

struct Reader<'a> {
    endpoint: &'a Endpoint,
    place: Place,
    hear: &'a mut dyn FnMut(Heard<'_>) -> bool,
    /// A server was there once.
    was_open: bool,
    /// The stream brought more than its beginning.
    is_lively: bool,
}

impl Reader<'_> {
    /// One connection to its end.
    async fn read(&mut self) -> Result<Ended, TailError> {
        let mut stream = match self.endpoint.open(self.place.after()).await {
            Ok(stream) => stream,
            Err(lost) => return Ok(Ended::Lost(lost)),
        };
        if self.was_open && !(self.hear)(Heard::Note("connected again".to_owned())) {
            return Ok(Ended::ByHearer);
        }
        self.was_open = true;
        self.place.reopen();
        let mut feed = Feed::default();
        loop {
            let bytes = match stream.next_bytes().await {
                Ok(bytes) => bytes,
                Err(lost) => return Ok(Ended::Lost(lost)),
            };
            feed.push(&bytes);
            loop {
                let part = feed.next_part().map_err(|source| TailError::Feed {
                    url: self.endpoint.url().to_owned(),
                    source,
                })?;
                let Some(part) = part else { break };
                if !self.take(part) {
                    return Ok(Ended::ByHearer);
                }
            }
        }
    }

    /// False when nobody wants more.
    fn take(&mut self, part: Part) -> bool {
        match part {
            Part::Event(event) => {
                self.is_lively = true;
                !self.place.is_new(&event) || (self.hear)(Heard::Event(&event))
            }
            Part::Comment(text) => self.take_comment(&text),
        }
    }

    fn take_comment(&mut self, text: &str) -> bool {
        if let Some(position) = text.strip_prefix("from ").and_then(|p| p.parse().ok()) {
            return self.place.begin(position).is_none_or(|asked| {
                let text = format!(
                    "the newest event of the server is {position} and not yet {asked} (was an \
                     older backup restored?): only what comes from now on is told"
                );
                (self.hear)(Heard::Note(text))
            });
        }
        self.is_lively = true;
        // Keep-alives say nothing.
        text.is_empty() || (self.hear)(Heard::Note(text.to_owned()))
    }
}
