//! A scripted subscriber inside the process: what it answers is decided push by push, and raw, so
//! that it may be as rude as it likes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use strait::base::time::Clock;
use strait::net::webhook::{Dialed, Dialer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{mpsc, watch};

/// A push as it came.
#[derive(Debug, Clone)]
pub(crate) struct Push {
    pub(crate) host: String,
    /// Milliseconds since the test began.
    pub(crate) at_ms: u64,
    pub(crate) head: String,
    pub(crate) body: String,
    /// `Some`: the device and the number of a test's own event.
    pub(crate) event: Option<(String, u64)>,
    /// Which connection, of all.
    pub(crate) connection: usize,
}

/// What a subscriber does with a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reaction {
    Answer(u16),
    /// Takes it, a bit later.
    AnswerAfter(Duration),
    /// To another place, which would take it.
    Redirect,
    /// Says nothing, ever.
    Hang,
    /// Closes the connection.
    Close,
    /// Answers with what is no HTTP.
    Garbage,
    /// Answers with this status and a body without end.
    Endless(u16),
    /// Answers 200, tells of a body, and says no more.
    AnswerAndHang,
    /// Answers 200 and closes.
    AnswerAndClose,
}

type Script = dyn Fn(&Push) -> Reaction + Send + Sync;

/// What came, and what is answered.
pub(crate) struct Subscriber {
    state: Arc<State>,
    pub(crate) dialer: Dialer,
}

struct State {
    script: Mutex<Arc<Script>>,
    taken: Mutex<Vec<(Push, Reaction)>>,
    count: watch::Sender<usize>,
    clock: Clock,
    began_ms: u64,
    /// Pushes that are being answered, and the most of them.
    busy: Mutex<(usize, usize)>,
}

impl Subscriber {
    pub(crate) fn start(clock: &Clock) -> Self {
        let (sender, mut dialed) = mpsc::channel::<Dialed>(16);
        let state = Arc::new(State {
            script: Mutex::new(Arc::new(|_: &Push| Reaction::Answer(200))),
            taken: Mutex::default(),
            count: watch::Sender::new(0),
            began_ms: clock.now().as_ms(),
            clock: clock.clone(),
            busy: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        tokio::task::spawn(async move {
            let mut connection = 0;
            while let Some(one) = dialed.recv().await {
                connection += 1;
                tokio::task::spawn(serve(Arc::clone(&shared), one, connection));
            }
        });
        let dialer = Dialer::Within(sender);
        Self { state, dialer }
    }

    pub(crate) fn react(&self, script: impl Fn(&Push) -> Reaction + Send + Sync + 'static) {
        *self.state.script.lock().unwrap() = Arc::new(script);
    }

    /// Waits until so many pushes came; all that came.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<(Push, Reaction)> {
        let mut counted = self.state.count.subscribe();
        counted.wait_for(|seen| *seen >= count).await.unwrap();
        self.seen()
    }

    pub(crate) fn seen(&self) -> Vec<(Push, Reaction)> {
        self.state.taken.lock().unwrap().clone()
    }

    /// The events of a host that were answered with 200, in order.
    pub(crate) fn taken(&self, host: &str) -> Vec<(String, u64)> {
        let taken = self.seen().into_iter().filter(|(push, reaction)| {
            push.host == host
                && matches!(
                    reaction,
                    Reaction::Answer(200)
                        | Reaction::AnswerAfter(_)
                        | Reaction::Endless(200)
                        | Reaction::AnswerAndClose
                        | Reaction::AnswerAndHang
                )
        });
        taken.filter_map(|(push, _)| push.event).collect()
    }

    /// The most pushes that came at the same time.
    pub(crate) fn busiest(&self) -> usize {
        self.state.busy.lock().unwrap().1
    }
}

async fn serve(state: Arc<State>, dialed: Dialed, connection: usize) {
    let (host, mut stream) = (dialed.host, dialed.stream);
    let mut buffer = Vec::new();
    while let Some((head, body)) = read(&mut stream, &mut buffer).await {
        let value: Value = serde_json::from_str(&body).unwrap();
        let data = &value["notify_data"];
        let device = data["header"]["device_id"].as_str();
        let number = data["body"]["n"].as_u64();
        let push = Push {
            host: host.clone(),
            at_ms: state.clock.now().as_ms() - state.began_ms,
            head,
            body,
            event: device.map(str::to_owned).zip(number),
            connection,
        };
        let script = Arc::clone(&state.script.lock().unwrap());
        let reaction = script(&push);
        state.taken.lock().unwrap().push((push, reaction));
        state.count.send_modify(|count| *count += 1);
        {
            let mut busy = state.busy.lock().unwrap();
            busy.0 += 1;
            busy.1 = busy.1.max(busy.0);
        }
        // Others that are under way come first.
        tokio::task::yield_now().await;
        let goes_on = answer(&mut stream, reaction).await;
        state.busy.lock().unwrap().0 -= 1;
        if !goes_on {
            return;
        }
    }
}

/// One request; `None` at the end.
async fn read(stream: &mut DuplexStream, buffer: &mut Vec<u8>) -> Option<(String, String)> {
    loop {
        if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..at].to_vec()).unwrap();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                let is_it = name.eq_ignore_ascii_case("content-length");
                is_it.then(|| value.parse::<usize>().unwrap())
            });
            let end = at + 4 + length.unwrap();
            if buffer.len() >= end {
                let body = String::from_utf8(buffer[at + 4..end].to_vec()).unwrap();
                buffer.drain(..end);
                return Some((head, body));
            }
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// Whether the connection goes on.
async fn answer(stream: &mut DuplexStream, reaction: Reaction) -> bool {
    let text = match reaction {
        Reaction::Answer(status) => {
            format!("HTTP/1.1 {status} X\r\ncontent-length: 5\r\n\r\nhello")
        }
        Reaction::AnswerAfter(after) => {
            tokio::time::sleep(after).await;
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned()
        }
        Reaction::Redirect => {
            "HTTP/1.1 302 Found\r\nlocation: http://other/\r\ncontent-length: 0\r\n\r\n".to_owned()
        }
        Reaction::Hang | Reaction::AnswerAndHang => {
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n";
            if reaction == Reaction::AnswerAndHang {
                stream.write_all(head).await.unwrap();
            }
            // Until the other side gives up.
            while stream.read(&mut [0; 64]).await.is_ok_and(|n| n > 0) {}
            return false;
        }
        Reaction::Close => return false,
        Reaction::Garbage => "SSH-2.0-OpenSSH_9.6\r\n\r\n".to_owned(),
        Reaction::Endless(status) => {
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: 1000000000\r\n\r\n");
            if stream.write_all(head.as_bytes()).await.is_err() {
                return false;
            }
            // Until the other side has enough of it.
            while stream.write_all(&[b'x'; 8192]).await.is_ok() {}
            return false;
        }
        Reaction::AnswerAndClose => {
            let text = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            drop(stream.write_all(text.as_bytes()).await);
            return false;
        }
    };
    stream.write_all(text.as_bytes()).await.is_ok()
}
