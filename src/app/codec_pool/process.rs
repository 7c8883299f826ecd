//! One worker process: started, given work, watched, ended.
//!
//! [`Process::send`] queues work, [`Process::next`] writes it and gives what comes of it, in order. The
//! clock of the watchdog runs for the first unanswered piece of work, from the time when it became
//! the first. Errors: [`StartError`]; a process that dies tells [`Death`].

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::request::Request;
use super::slots::Slots;
use crate::product::codec::Kind;
use crate::product::codec::frames::{
    Done, FrameError, Frames, Notice, Order, Outcome, Source, Task, append,
};

/// How long a new process may take to say that it is ready: a busy machine starts it slowly.
const START_MAX: Duration = Duration::from_secs(10);
/// How long a process that closed its pipe may take to be gone.
const LEAVE_MAX: Duration = Duration::from_millis(500);
/// Bytes read at once: a pipe holds as many.
const CHUNK: usize = 64 * 1024;

/// A piece of work that was sent.
#[derive(Debug)]
pub(super) struct Item {
    id: u64,
    pub(super) tag: Arc<str>,
    /// It has to be loaded first, which takes longer.
    pub(super) loads: bool,
    /// Loading compiles it, which takes far longer.
    pub(super) compiles: bool,
    /// `None`: the same work is done elsewhere, nobody waits for this answer.
    pub(super) request: Option<Request>,
}

/// What happened to the first unanswered piece of work.
#[derive(Debug)]
pub(super) enum Event {
    Done(Box<Item>, Box<Done>),
    /// It took as long as was allowed, and goes on.
    Late,
    Died(Death),
}

/// How a process ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Death {
    pub(super) how: String,
    /// What it was doing did it. Otherwise somebody outside ended it.
    pub(super) by_itself: bool,
}

/// Why no worker could be started.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("starting the worker: {0}")]
    Start(#[from] io::Error),
    #[error("the worker did not get ready: {how}")]
    NotReady { how: String },
}

/// A running worker. Dropped, it is killed and waited for.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    input: pipe::Sender,
    output: pipe::Receiver,
    frames: Frames,
    chunk: Vec<u8>,
    outgoing: Vec<u8>,
    written: usize,
    unanswered: VecDeque<Item>,
    /// Since when the first of them is the first.
    first_since: Instant,
    slots: Slots,
    next_id: u64,
}

impl Process {
    /// Starts `program codec-worker` with nothing of this process but two pipes, and waits until it
    /// takes orders. Must be called inside a tokio runtime.
    pub(super) async fn start(program: &Path) -> Result<Self, StartError> {
        let mut child = Command::new(program)
            .arg("codec-worker")
            .env_clear()
            .env("TZ", "UTC")
            .current_dir("/")
            // Ctrl-C in a terminal is for the server, which finishes what it began.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let pipes = (child.stdin.take(), child.stdout.take());
        let pipes = match pipes {
            (Some(input), Some(output)) => sender(input.into())
                .and_then(|input| Ok((input, pipe::Receiver::from_owned_fd(output.into())?))),
            _ => Err(io::Error::other("no pipe")),
        };
        let (input, output) = match pipes {
            Ok(pipes) => pipes,
            Err(error) => {
                end(&mut child);
                return Err(error.into());
            }
        };
        let mut process = Self {
            child,
            input,
            output,
            frames: Frames::default(),
            chunk: vec![0; CHUNK],
            outgoing: Vec::new(),
            written: 0,
            unanswered: VecDeque::new(),
            first_since: Instant::now(),
            slots: Slots::default(),
            next_id: 0,
        };
        gauge!("strait_codec_workers").increment(1.0);
        match timeout(START_MAX, process.ready()).await {
            Ok(Ok(())) => Ok(process),
            Ok(Err(how)) => Err(StartError::NotReady { how }),
            Err(_) => Err(StartError::NotReady {
                how: format!("it said nothing for {} s", START_MAX.as_secs()),
            }),
        }
    }

    async fn ready(&mut self) -> Result<(), String> {
        loop {
            match self.frames.take::<Notice>() {
                Ok(Some(Notice::Ready)) => return Ok(()),
                Ok(None) => {}
                Ok(Some(Notice::Done(_))) => return Err("it answered before it was asked".into()),
                Err(error) => return Err(error.to_string()),
            }
            match self.output.read(&mut self.chunk).await {
                Ok(len) if len > 0 => self
                    .frames
                    .extend(self.chunk.get(..len).unwrap_or_default()),
                Ok(_) | Err(_) => return Err(self.death().await.how),
            }
        }
    }

    /// Queues a request. Gives it back when it can't be written at all.
    pub(super) fn send(&mut self, request: Request) -> Result<(), Box<(Request, FrameError)>> {
        let (place, forgotten) = self.slots.place(&request.codec.tag, Instant::now());
        let id = self.next_id;
        let begin = self.outgoing.len();
        let load = place.is_new.then(|| Source {
            kind: request.codec.kind,
            source: request.codec.source.to_vec(),
            options: (*request.codec.options).clone(),
        });
        let task = Task {
            id,
            slot: place.slot,
            load,
            call: request.call.as_ref(),
        };
        let mut written = Ok(());
        for slot in forgotten {
            let order: Order<()> = Order::Forget { slot };
            written = written.and_then(|()| append(&order, &mut self.outgoing));
        }
        let written = written.and_then(|()| append(&Order::Run(task), &mut self.outgoing));
        if let Err(error) = written {
            self.outgoing.truncate(begin);
            self.slots.remove(&request.codec.tag);
            return Err(Box::new((request, error)));
        }
        if self.unanswered.is_empty() {
            self.first_since = Instant::now();
        }
        self.next_id += 1;
        self.unanswered.push_back(Item {
            id,
            tag: Arc::clone(&request.codec.tag),
            loads: place.is_new,
            compiles: place.is_new && request.codec.kind == Kind::Wasm,
            request: Some(request),
        });
        Ok(())
    }

    /// Whether anything is unanswered.
    pub(super) fn is_busy(&self) -> bool {
        !self.unanswered.is_empty()
    }

    /// The first unanswered piece of work.
    pub(super) fn first(&self) -> Option<&Item> {
        self.unanswered.front()
    }

    /// Whether it runs still. For one without work: of a busy one [`Process::next`] tells.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Takes the request of the first unanswered piece of work.
    pub(super) fn take_first(&mut self) -> Option<Request> {
        self.unanswered.front_mut()?.request.take()
    }

    /// Takes the requests of all that is unanswered, in order.
    pub(super) fn take_requests(&mut self) -> Vec<Request> {
        let items = self.unanswered.iter_mut();
        items.filter_map(|item| item.request.take()).collect()
    }

    /// Takes the requests of all that is unanswered but the first, which goes on here. `false` beside
    /// them: part of it is not written yet, so that the process is of no use afterwards.
    pub(super) fn take_others(&mut self) -> (Vec<Request>, bool) {
        let others = self.unanswered.iter_mut().skip(1);
        let others = others.filter_map(|item| item.request.take()).collect();
        (others, self.written == self.outgoing.len())
    }

    /// Whether the first unanswered piece of work compiles something.
    pub(super) fn compiles(&self) -> bool {
        self.unanswered.front().is_some_and(|item| item.compiles)
    }

    /// What comes next: an answer; or `Late`, when the first unanswered piece of work has been the first
    /// for `most`; or the end of the process. Loses nothing when it is dropped in between.
    pub(super) async fn next(&mut self, most: Duration) -> Event {
        let deadline = self.first_since + most;
        loop {
            match self.frames.take::<Notice>() {
                Ok(Some(Notice::Done(done))) => match self.unanswered.pop_front() {
                    Some(item) if item.id == done.id => {
                        self.first_since = Instant::now();
                        self.slots.weigh(&item.tag, done.heap_bytes);
                        if matches!(done.outcome, Outcome::NotLoaded(_)) {
                            self.slots.mark_broken(&item.tag, self.first_since);
                        }
                        return Event::Done(Box::new(item), Box::new(done));
                    }
                    item => {
                        self.unanswered.extend(item);
                        return Event::Died(broken("it answered what was not asked"));
                    }
                },
                Ok(Some(Notice::Ready)) => return Event::Died(broken("it began anew")),
                Ok(None) => {}
                Err(error) => return Event::Died(broken(&error.to_string())),
            }
            let rest = self.outgoing.get(self.written..).unwrap_or_default();
            tokio::select! {
                // What was answered in time counts, however late it is read.
                biased;
                read = self.output.read(&mut self.chunk) => match read {
                    Ok(len) if len > 0 => {
                        self.frames.extend(self.chunk.get(..len).unwrap_or_default());
                    }
                    Ok(_) | Err(_) => return Event::Died(self.death().await),
                },
                wrote = self.input.write(rest), if !rest.is_empty() => {
                    // An error: it is gone, which reading tells.
                    let unwritten = rest.len();
                    self.written += wrote.unwrap_or(unwritten);
                    if self.written >= self.outgoing.len() {
                        self.outgoing.clear();
                        self.written = 0;
                    }
                }
                () = sleep_until(deadline) => return Event::Late,
            }
        }
    }

    /// How long the worker has waited for a processor since it began, where the kernel tells.
    pub(super) fn starved(&self) -> Option<Duration> {
        let path = format!("/proc/{}/schedstat", self.child.id());
        let text = std::fs::read_to_string(path).ok()?;
        let waited = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
        Some(Duration::from_nanos(waited))
    }

    /// How it ended; its output has.
    async fn death(&mut self) -> Death {
        let begun = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Death::of(status),
                Ok(None) if begun.elapsed() < LEAVE_MAX => sleep(Duration::from_millis(1)).await,
                Ok(None) => return broken("it closed its output"),
                Err(error) => return broken(&error.to_string()),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        end(&mut self.child);
        gauge!("strait_codec_workers").decrement(1.0);
    }
}

/// Kills and waits: nothing of a killed process is left. It is gone within a millisecond or so.
fn end(child: &mut Child) {
    drop(child.kill());
    drop(child.wait());
}

fn sender(fd: OwnedFd) -> io::Result<pipe::Sender> {
    pipe::Sender::from_owned_fd(fd)
}

fn broken(how: &str) -> Death {
    Death {
        how: how.to_owned(),
        by_itself: true,
    }
}

/// Signals that a process does not bring upon itself here: an operator or the kernel, out of memory,
/// sends them.
const FROM_OUTSIDE: [i32; 5] = [1, 2, 3, 9, 15];

impl Death {
    fn of(status: ExitStatus) -> Self {
        match status.signal() {
            Some(signal) => Self {
                how: format!("it was ended by signal {signal}"),
                by_itself: !FROM_OUTSIDE.contains(&signal),
            },
            None => broken(&format!(
                "it exited with {}",
                status.code().unwrap_or_default()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_is_no_worker_is_told() {
        let cases = [
            ("/nonexistent/strait", "starting the worker"),
            ("/bin/true", "it exited with 0"),
            ("/bin/echo", "a frame of"),
        ];
        for (program, part) in cases {
            let error = Process::start(Path::new(program)).await.unwrap_err();
            assert!(error.to_string().contains(part), "{program}: {error}");
        }
    }

    #[test]
    fn who_ended_it_shows_in_its_status() {
        for (raw, by_itself) in [(9, false), (15, false), (6, true), (11, true), (256, true)] {
            let death = Death::of(ExitStatus::from_raw(raw));
            assert_eq!(death.by_itself, by_itself, "{death:?}");
        }
    }
}
