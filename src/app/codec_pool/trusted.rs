//! Codecs of authors whom the operator trusts, inside the server's process: quicker by the way to a
//! worker, and without its walls. A call that no limit of the engine ends is given up after a while,
//! but its thread is lost until the server ends.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::request::{Answer, unavailable};
use crate::base::time::Clock;
use crate::product::codec::call::{Call, Outside};
use crate::product::codec::frames::Outcome;
use crate::product::codec::here::{Loaded, Loader};
use crate::product::codec::{CodecError, LoadError};

/// Codecs kept loaded: the longest unused goes.
const LOADED_MAX: usize = 64;
/// Then a call is given up.
const GIVE_UP: Duration = Duration::from_secs(5);

/// Loaded by whoever calls it first; the others wait.
type Entry = Arc<OnceLock<Result<Loaded, Vec<LoadError>>>>;

/// The codecs that run here.
#[derive(Debug)]
pub(super) struct Trusted {
    clock: Clock,
    loader: Arc<Loader>,
    /// By tag, the last used one last.
    loaded: Mutex<Vec<(Arc<str>, Entry)>>,
    /// Calls at the same time: one for each core.
    threads: Arc<Semaphore>,
}

impl Trusted {
    pub(super) fn new(clock: Clock) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            clock,
            loader: Arc::default(),
            loaded: Mutex::default(),
            threads: Arc::new(Semaphore::new(cores)),
        }
    }

    fn entry(&self, tag: &Arc<str>) -> Entry {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let known = loaded.iter().position(|(known, _)| known == tag);
        let entry = match known {
            Some(at) => loaded.remove(at).1,
            None => {
                if loaded.len() >= LOADED_MAX {
                    loaded.remove(0);
                }
                Entry::default()
            }
        };
        loaded.push((Arc::clone(tag), Arc::clone(&entry)));
        entry
    }

    fn forget(&self, tag: &str) {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.retain(|(known, _)| **known != *tag);
    }

    pub(super) async fn call(&self, codec: &Outside, call: Call) -> Answer {
        let work = async {
            let Ok(thread) = Arc::clone(&self.threads).acquire_owned().await else {
                return unavailable("the server stops").into();
            };
            let (codec, entry) = (codec.clone(), self.entry(&codec.tag));
            let (clock, loader) = (self.clock.clone(), Arc::clone(&self.loader));
            let done = tokio::task::spawn_blocking(move || {
                let _thread = thread;
                perform(&loader, &codec, &entry, &call, &clock)
            });
            match done.await {
                Ok(answer) => answer,
                Err(error) => unavailable(format!("it ended its thread: {error}")).into(),
            }
        };
        match timeout(GIVE_UP, work).await {
            Ok(answer) => answer,
            Err(_) => {
                // What hangs keeps its context; the next call gets another one.
                self.forget(&codec.tag);
                let what = format!("no answer within {} s", GIVE_UP.as_secs());
                CodecError::Limit { what }.into()
            }
        }
    }
}

fn perform(loader: &Loader, codec: &Outside, entry: &Entry, call: &Call, clock: &Clock) -> Answer {
    let begun = clock.instant();
    let load = || loader.load(codec.kind, &codec.source, &codec.options);
    let (outcome, heap_bytes) = match entry.get_or_init(load) {
        Ok(loaded) => {
            let reply = call.perform(loaded.codec());
            (Outcome::Reply(reply), 0)
        }
        Err(mistakes) => (Outcome::NotLoaded(mistakes.clone()), 0),
    };
    let passed = clock.instant().saturating_duration_since(begun);
    Answer {
        outcome,
        micros: u64::try_from(passed.as_micros()).unwrap_or(u64::MAX),
        heap_bytes,
    }
}
