//! `strait codec-worker`: runs codecs for the server that started it, and for nobody else.
//!
//! Orders come on stdin, answers go to stdout ([`frames`](crate::product::codec::frames)); each answer is
//! written before the next order is begun, so the server sees which one takes long. Before it takes
//! any, the process gives up what it needs not: see `confinement.rs`. It ends with its server: when
//! stdin ends, or, in the middle of a script, when nobody reads its stdout any more.
//! Exit codes: 0 the server is gone, 1 what came was no order, 2 it could not confine itself.

mod confinement;

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitCode;
use std::sync::{Arc, Barrier};

use rustix::event::{PollFd, PollFlags, poll};

use crate::base::limits::STACK_OF_WAITING;
use crate::base::time::Clock;
use crate::product::codec::call::Call;
use crate::product::codec::frames::{
    Done, FrameError, Frames, Notice, Order, Outcome, Source, Task, append,
};
use crate::product::codec::here::{Loaded, Loader};
use crate::product::codec::{CodecError, LoadError};

/// Bytes read at once: a pipe holds as many.
const CHUNK: usize = 64 * 1024;
/// Calls after which what a codec holds is weighed again.
const WEIGH_EACH: u32 = 64;

/// Serves the server at the other end of stdin and stdout.
pub fn run() -> ExitCode {
    match streams() {
        Ok((mut input, mut output, loader)) => match serve(&mut input, &mut output, loader) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&error);
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            complain(&error);
            ExitCode::from(2)
        }
    }
}

/// Opens the streams past the standard library's buffers, makes what codecs share, and gives up the
/// rest.
fn streams() -> std::io::Result<(File, File, Loader)> {
    let input = std::io::stdin().as_fd().try_clone_to_owned()?;
    let output = std::io::stdout().as_fd().try_clone_to_owned()?;
    let watched = output.try_clone()?;
    let both = Arc::new(Barrier::new(2));
    let begun = Arc::clone(&both);
    std::thread::Builder::new()
        .stack_size(STACK_OF_WAITING)
        .spawn(move || {
            begun.wait();
            end_without_reader(watched.as_fd());
        })?;
    // A thread that begins asks the kernel for more than one that runs.
    both.wait();
    let loader = Loader::prepared();
    confinement::confine()?;
    Ok((File::from(input), File::from(output), loader))
}

/// Ends the process when nobody can read its answers any more: the server died while a script runs.
fn end_without_reader(output: BorrowedFd<'_>) {
    loop {
        let mut watched = [PollFd::new(&output, PollFlags::empty())];
        let seen = poll(&mut watched, None);
        let gone = watched.iter().any(|fd| !fd.revents().is_empty());
        match seen {
            Ok(_) if gone => std::process::exit(0),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            // Nothing to watch with: stdin still ends it between two orders.
            Err(_) => return,
        }
    }
}

fn complain(error: &dyn std::fmt::Display) {
    drop(writeln!(std::io::stderr(), "strait codec-worker: {error}"));
}

/// Why a worker can't go on.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error(transparent)]
    Stream(#[from] std::io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// Takes orders until there are no more.
fn serve(input: &mut impl Read, output: &mut impl Write, loader: Loader) -> Result<(), ServeError> {
    let mut codecs = Codecs {
        loader,
        slots: HashMap::new(),
    };
    let mut frames = Frames::default();
    let mut chunk = vec![0; CHUNK];
    let mut out = Vec::with_capacity(CHUNK);
    append(&Notice::Ready, &mut out)?;
    output.write_all(&out)?;
    loop {
        while let Some(order) = frames.take()? {
            let Some(done) = codecs.follow(order) else {
                continue;
            };
            out.clear();
            let id = done.id;
            if append(&Notice::Done(done), &mut out).is_err() {
                append(&Notice::Done(unsayable(id)), &mut out)?;
            }
            output.write_all(&out)?;
        }
        match input.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(len) => frames.extend(chunk.get(..len).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// For an answer that fits in no frame.
fn unsayable(id: u64) -> Done {
    let what = "the answer is too long for its frame".to_owned();
    Done {
        id,
        outcome: Outcome::Reply(Err(CodecError::Limit { what })),
        micros: 0,
        heap_bytes: 0,
    }
}

/// The codecs by their slots.
#[derive(Debug)]
struct Codecs {
    loader: Loader,
    slots: HashMap<u32, Slot>,
}

/// A codec; what could not be loaded says so again.
#[derive(Debug)]
struct Slot {
    loaded: Result<Loaded, Vec<LoadError>>,
    calls: u32,
    /// As it was weighed last.
    heap_bytes: u64,
}

impl Slot {
    fn load(loader: &Loader, source: &Source) -> Self {
        let loaded = loader.load(source.kind, &source.source, &source.options);
        let heap_bytes = loaded.as_ref().map_or(0, Loaded::heap_bytes);
        Self {
            loaded,
            calls: 0,
            heap_bytes,
        }
    }

    fn call(&mut self, call: Option<Call>) -> Outcome {
        let (loaded, call) = match (&self.loaded, call) {
            (Ok(loaded), Some(call)) => (loaded, call),
            (Ok(_), None) => return Outcome::Loaded,
            (Err(mistakes), _) => return Outcome::NotLoaded(mistakes.clone()),
        };
        let reply = call.perform(loaded.codec());
        self.calls = self.calls.wrapping_add(1);
        if self.calls.is_multiple_of(WEIGH_EACH) {
            self.heap_bytes = loaded.heap_bytes();
        }
        Outcome::Reply(reply)
    }
}

impl Codecs {
    fn follow(&mut self, order: Order) -> Option<Done> {
        match order {
            Order::Forget { slot } => {
                self.slots.remove(&slot);
                None
            }
            Order::Run(task) => Some(self.run(task)),
        }
    }

    fn run(&mut self, task: Task) -> Done {
        let clock = Clock::System;
        let begun = clock.instant();
        if let Some(source) = task.load {
            // What was there goes first: both at once may be too much.
            self.slots.remove(&task.slot);
            let slot = Slot::load(&self.loader, &source);
            self.slots.insert(task.slot, slot);
        }
        let (outcome, heap_bytes) = match self.slots.get_mut(&task.slot) {
            Some(slot) => (slot.call(task.call), slot.heap_bytes),
            None => {
                let reason = "the worker does not have it".to_owned();
                (Outcome::Reply(Err(CodecError::Unavailable { reason })), 0)
            }
        };
        let passed = clock.instant().saturating_duration_since(begun);
        Done {
            id: task.id,
            outcome,
            micros: u64::try_from(passed.as_micros()).unwrap_or(u64::MAX),
            heap_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::product::codec::Kind;
    use crate::product::codec::call::Options;

    fn task(id: u64, slot: u32, source: Option<&str>) -> Order {
        Order::Run(Task {
            id,
            slot,
            load: source.map(|source| Source {
                kind: Kind::Script,
                source: source.into(),
                options: Options::default(),
            }),
            call: Some(Call::DecodeDownlink { bytes: vec![] }),
        })
    }

    #[test]
    fn answers_in_order_and_goes_on_after_what_fails() {
        let mut input = Vec::new();
        let orders = [
            task(1, 7, None),
            task(2, 7, Some("this is no script")),
            task(3, 7, None),
            Order::Forget { slot: 7 },
            task(4, 7, None),
        ];
        for order in &orders {
            append(order, &mut input).unwrap();
        }
        let mut output = Vec::new();
        serve(&mut input.as_slice(), &mut output, Loader::default()).unwrap();
        let mut frames = Frames::default();
        frames.extend(&output);
        assert_eq!(frames.take().unwrap(), Some(Notice::Ready));
        let mut seen = Vec::new();
        while let Some(Notice::Done(done)) = frames.take().unwrap() {
            let word = match done.outcome {
                Outcome::Reply(Err(error)) => error.kind(),
                Outcome::NotLoaded(mistakes) if !mistakes.is_empty() => "mistakes",
                _ => "other",
            };
            seen.push((done.id, word));
        }
        let want = [
            (1, "unavailable"),
            (2, "mistakes"),
            (3, "mistakes"),
            (4, "unavailable"),
        ];
        assert_eq!(seen, want);
    }

    #[test]
    fn what_is_no_order_ends_it() {
        let mut output = Vec::new();
        let error = serve(
            &mut [0, 0, 0, 1, 0xff].as_slice(),
            &mut output,
            Loader::default(),
        )
        .unwrap_err();
        assert!(matches!(error, ServeError::Frame(_)), "{error}");
    }
}
