//! `strait tail`: prints what a server pushes, as it comes.
//!
//! Follows `GET /v1/events`. A lost connection is made anew, after a pause that grows, and goes on
//! where it broke off: nothing is lost and nothing printed twice (`place`). Exit codes: 0 ended by
//! Ctrl-C, by `--once` or because nobody reads the output any more; 1 the server can't be reached at
//! first, or refuses; 2 usage.

mod connection;
mod feed;
mod follow;
mod line;
mod place;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::progress::{note, print};
use crate::app::credentials::Role;
use crate::app::credentials::file::{self, FileError};
use crate::base::secret::Secret;

pub use connection::{Endpoint, EndpointError};
pub use feed::{Feed, FeedError, Part, ServerEvent};
pub use follow::{Heard, Pauses, Start, TailError, follow};
pub use line::{Filter, Line};

/// The environment variable that a token is taken from.
const TOKEN_VARIABLE: &str = "STRAIT_TOKEN";
/// Longest file with a token or with certificates.
const FILE_MAX: u64 = 1024 * 1024;

/// Arguments of `strait tail`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address of the server
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    server: String,
    /// CA certificates (PEM) that the server's certificate is checked with, for https
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Token; other users of this machine may see it here. Without any, STRAIT_TOKEN of the
    /// environment is taken
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["token_file", "data"])]
    token: Option<String>,
    /// File that holds the token
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    token_file: Option<PathBuf>,
    /// Data directory of the server, whose credentials.toml holds a token
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Begin after the event with this id; 0: with the oldest that the server keeps
    #[arg(long, value_name = "ID|now", default_value = "now")]
    from: Start,
    /// Only events of these devices
    #[arg(long, value_name = "ID")]
    device: Vec<String>,
    /// Only these resources, or these of their events: device.property, device.status.update
    #[arg(long, value_name = "RESOURCE[.EVENT]")]
    resource: Vec<String>,
    /// Print whole events as JSON, one a line
    #[arg(long)]
    json: bool,
    /// End after so many events
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1", value_parser = clap::value_parser!(u64).range(1..))]
    once: Option<u64>,
}

/// Why it could not begin.
#[derive(Debug, thiserror::Error)]
enum UsageError {
    #[error("--server {0}")]
    Server(#[from] EndpointError),
    #[error("--data: {0}")]
    Credentials(#[from] FileError),
    #[error("--data: {path} has no credentials, takes a file with one at least")]
    NoCredential { path: String },
    #[error("{option} {path}: {reason}")]
    File {
        option: &'static str,
        path: String,
        reason: String,
    },
}

/// Runs `strait tail`.
pub fn run(args: Args) -> ExitCode {
    let endpoint = match args.endpoint() {
        Ok(endpoint) => endpoint,
        Err(wrong) => {
            note(&format!("strait tail: {wrong}"));
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            note(&format!("strait tail: the operating system: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = tail(&args, &endpoint) => outcome,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&format!("strait tail: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn tail(args: &Args, endpoint: &Endpoint) -> Result<(), TailError> {
    let filter = Filter::new(args.device.clone(), args.resource.clone());
    let mut left = args.once.unwrap_or(u64::MAX);
    let mut hear = |heard: Heard<'_>| match heard {
        Heard::Note(text) => {
            note(&format!("strait tail: {text}"));
            true
        }
        Heard::Event(event) => {
            let line = Line::of(event);
            if !filter.takes(&line) {
                return true;
            }
            let printed = match args.json {
                true => print(&line.json()),
                false => print(&line.text()),
            };
            left = left.saturating_sub(1);
            printed && left > 0
        }
    };
    follow(endpoint, args.from, Pauses::default(), &mut hear).await
}

impl Args {
    fn endpoint(&self) -> Result<Endpoint, UsageError> {
        let ca = match &self.ca {
            Some(path) => Some(read_file("--ca", path)?),
            None => None,
        };
        Ok(Endpoint::new(&self.server, ca.as_deref(), self.token()?)?)
    }

    fn token(&self) -> Result<Option<Secret<String>>, UsageError> {
        if let Some(token) = &self.token {
            return Ok(Some(Secret::new(token.clone())));
        }
        if let Some(path) = &self.token_file {
            let text = read_file("--token-file", path)?;
            return Ok(Some(Secret::new(text.trim().to_owned())));
        }
        if let Some(data) = &self.data {
            let path = file::path_in(data);
            let (all, _) = file::read(&path)?;
            let admin = all
                .iter()
                .find(|c| c.role == Role::Admin && c.space.is_none());
            let found = admin.or_else(|| all.first());
            let path = path.display().to_string();
            let found = found.ok_or(UsageError::NoCredential { path })?;
            return Ok(Some(found.token.clone()));
        }
        let said = std::env::var(TOKEN_VARIABLE).ok();
        Ok(said.filter(|token| !token.is_empty()).map(Secret::new))
    }
}

fn read_file(option: &'static str, path: &std::path::Path) -> Result<String, UsageError> {
    let read = || {
        use std::io::Read;
        let mut text = String::new();
        let file = std::fs::File::open(path)?;
        file.take(FILE_MAX).read_to_string(&mut text)?;
        Ok(text)
    };
    read().map_err(|e: std::io::Error| UsageError::File {
        option,
        path: path.display().to_string(),
        reason: e.to_string(),
    })
}

impl Default for Pauses {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(30),
        }
    }
}
