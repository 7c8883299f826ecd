//! The demo's server: this program once more, as `strait serve` on free loopback ports with a
//! temporary data directory. The demo talks to it through its public faces alone, and what the demo
//! shows is what a user of the server would see.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long a stopped server may finish what it began.
const STOP_TRIES: u32 = 300;
const STOP_WAIT: Duration = Duration::from_millis(100);
/// End of the log that goes into an error.
const LOG_TAIL: usize = 2000;

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("the demo's directory: {0}")]
    Directory(#[source] io::Error),
    #[error("starting the server: {0}")]
    Spawn(#[source] io::Error),
    #[error("the server said {line:?} instead of its addresses; its log ends:\n{log}")]
    NotReady { line: String, log: String },
}

impl StartError {
    /// Stable word; never reworded.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Directory(_) => "directory",
            Self::Spawn(_) => "spawn",
            Self::NotReady { .. } => "not_ready",
        }
    }
}

/// The running server. Ends, and its directory goes, when it is dropped.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) http: SocketAddr,
    pub(super) coap: SocketAddr,
    /// `None` when it serves no secured devices.
    pub(super) coaps: Option<SocketAddr>,
    child: Child,
    directory: TempDir,
}

impl Running {
    /// Starts it and waits for its `ready` line.
    pub(super) fn start() -> Result<Self, StartError> {
        let directory = TempDir::with_prefix("strait-demo-").map_err(StartError::Directory)?;
        let log_path = directory.path().join("log");
        let log = File::create(&log_path).map_err(StartError::Directory)?;
        let program = std::env::current_exe().map_err(StartError::Spawn)?;
        let mut child = Command::new(program)
            .args(["serve", "--no-auth", "--coaps", "127.0.0.1:0"])
            .args(["--http", "127.0.0.1:0", "--coap", "127.0.0.1:0"])
            .arg("--data")
            .arg(directory.path().join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(StartError::Spawn)?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out)
                .read_line(&mut line)
                .map_err(StartError::Spawn)?;
        }
        let Some(Addresses { http, coap, coaps }) = addresses(&line) else {
            child.kill().and_then(|()| child.wait()).ok();
            let line = line.trim_end().to_owned();
            let log = tail(&log_path);
            return Err(StartError::NotReady { line, log });
        };
        Ok(Self {
            http,
            coap,
            coaps,
            child,
            directory,
        })
    }

    /// Where the server keeps its data.
    pub(super) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Asks it to finish; true when it ended by itself and without an error.
    pub(super) fn stop(&mut self) -> bool {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended already.
            kill_process(pid, Signal::TERM).ok();
        }
        for _ in 0..STOP_TRIES {
            match self.child.try_wait() {
                Ok(Some(status)) => return status.success(),
                Ok(None) => std::thread::sleep(STOP_WAIT),
                Err(_) => return false,
            }
        }
        false
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) && !self.stop() {
            self.child.kill().and_then(|()| self.child.wait()).ok();
        }
    }
}

/// Where the server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Addresses {
    http: SocketAddr,
    coap: SocketAddr,
    coaps: Option<SocketAddr>,
}

/// Reads `ready http=HOST:PORT coap=HOST:PORT coaps=HOST:PORT`, where coaps may be `-`.
fn addresses(line: &str) -> Option<Addresses> {
    let mut words = line.split_whitespace();
    if words.next() != Some("ready") {
        return None;
    }
    let mut field = |name: &str| words.next()?.strip_prefix(name);
    let http = field("http=")?.parse().ok()?;
    let coap = field("coap=")?.parse().ok()?;
    let coaps = match field("coaps=")? {
        "-" => None,
        address => Some(address.parse().ok()?),
    };
    Some(Addresses { http, coap, coaps })
}

fn tail(path: &Path) -> String {
    let log = std::fs::read(path).unwrap_or_default();
    let from = log.len().saturating_sub(LOG_TAIL);
    String::from_utf8_lossy(log.get(from..).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_gives_the_addresses() {
        let ports = |coaps: &str| {
            let line = format!("ready http=127.0.0.1:8080 coap=127.0.0.1:5683 coaps={coaps}\n");
            let got = addresses(&line)?;
            let coaps = got.coaps.map(|a| a.port());
            Some((got.http.port(), got.coap.port(), coaps))
        };
        assert_eq!(ports("-"), Some((8080, 5683, None)));
        assert_eq!(ports("127.0.0.1:5684"), Some((8080, 5683, Some(5684))));
        assert_eq!(ports("5684"), None);
        for line in [
            "",
            "ready",
            "error",
            "ready http=127.0.0.1:1 coap=127.0.0.1:1",
            "ready http=- coap=127.0.0.1:1 coaps=-",
        ] {
            assert_eq!(addresses(line), None, "{line}");
        }
    }
}
