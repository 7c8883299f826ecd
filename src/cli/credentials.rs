//! `strait credentials`: who may use the HTTP API. Edits the file that a running server follows.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use crate::app::credentials::file::{self, FileError};
use crate::app::credentials::{Credential, Role, edit};
use crate::base::ids::AppId;
use crate::base::time::Clock;
use crate::config;

/// Arguments of `strait credentials`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make a credential; its keys are shown this once
    Add(Add),
    /// List credentials, without their secrets
    List(List),
    /// Take a credential away: it stops counting within two seconds
    Revoke(Revoke),
}

/// Where the credentials are.
#[derive(Debug, clap::Args)]
struct Place {
    /// Data directory [default: ./data]
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    data: Option<PathBuf>,
    /// Configuration file that names the data directory
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Add {
    /// What it allows: admin, operator (no resource spaces, no audit log), read-only
    #[arg(long, value_enum)]
    role: RoleName,
    /// Bind it to this resource space: it sees nothing else
    #[arg(long, value_name = "SPACE", value_parser = AppId::parse)]
    app_id: Option<AppId>,
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Revoke {
    #[arg(value_name = "ACCESS_KEY")]
    access_key: String,
    /// Even the last admin
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum RoleName {
    Admin,
    Operator,
    ReadOnly,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Admin => Self::Admin,
            RoleName::Operator => Self::Operator,
            RoleName::ReadOnly => Self::ReadOnly,
        }
    }
}

/// A credential as it is shown.
#[derive(Serialize)]
struct Shown<'a> {
    access_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    role: &'a str,
    app_id: Option<&'a str>,
    created: Option<String>,
}

#[derive(Serialize)]
struct Listed<'a> {
    credentials: Vec<Shown<'a>>,
}

impl<'a> Shown<'a> {
    fn of(credential: &'a Credential) -> Self {
        Self {
            access_key: &credential.access_key,
            secret_key: None,
            token: None,
            role: credential.role.as_str(),
            app_id: credential.space.as_ref().map(AppId::as_str),
            created: credential.created.map(|at| at.rfc3339_ms()),
        }
    }
}

/// Why it did not go.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Config(#[from] config::ConfigError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the output: {0}")]
    Output(#[from] std::io::Error),
}

/// Exit codes: 0, 1 when it could not be done, 2 for a wrong configuration.
pub fn run(args: Args) -> ExitCode {
    let done = match args.action {
        Action::Add(args) => add(args),
        Action::List(args) => list(&args),
        Action::Revoke(args) => revoke(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "strait credentials: {error}"));
            match error {
                Error::Config(_) => ExitCode::from(2),
                Error::File(_) | Error::Output(_) => ExitCode::FAILURE,
            }
        }
    }
}

impl Place {
    /// The data directory.
    fn data(&self) -> Result<PathBuf, Error> {
        match &self.data {
            Some(data) => Ok(data.clone()),
            None => Ok(config::load(self.config.as_deref(), std::env::vars())?.data),
        }
    }
}

fn add(args: Add) -> Result<(), Error> {
    let data = args.place.data()?;
    let now = Clock::System.now();
    let (made, is_first) = edit::add(&data, args.role.into(), args.app_id, now)?;
    if is_first {
        let path = file::path_in(&data);
        let note = format!("made {} with a first admin as well", path.display());
        drop(writeln!(std::io::stderr(), "{note}"));
    }
    let shown = Shown {
        secret_key: Some(made.secret_key.expose()),
        token: Some(made.token.expose()),
        ..Shown::of(&made)
    };
    let mut out = std::io::stdout().lock();
    if args.json {
        return write_json(&mut out, &shown);
    }
    let rows = [
        ("access_key", Some(shown.access_key)),
        ("secret_key", shown.secret_key),
        ("token", shown.token),
        ("role", Some(shown.role)),
        ("app_id", shown.app_id),
    ];
    for (name, value) in rows {
        if let Some(value) = value {
            writeln!(out, "{name} = \"{value}\"")?;
        }
    }
    Ok(out.flush()?)
}

fn list(args: &List) -> Result<(), Error> {
    let path = file::path_in(&args.place.data()?);
    let (all, _) = file::read(&path)?;
    let mut out = std::io::stdout().lock();
    let credentials: Vec<_> = all.iter().map(Shown::of).collect();
    if args.json {
        return write_json(&mut out, &Listed { credentials });
    }
    let width = credentials.iter().map(|c| c.access_key.len()).max();
    let width = width.unwrap_or(0).max("ACCESS KEY".len());
    writeln!(
        out,
        "{:width$}  ROLE       CREATED                   SPACE",
        "ACCESS KEY"
    )?;
    for row in &credentials {
        let created = row.created.as_deref().unwrap_or("-");
        let space = row.app_id.unwrap_or("-");
        let (key, role) = (row.access_key, row.role);
        writeln!(out, "{key:width$}  {role:9}  {created:24}  {space}")?;
    }
    Ok(out.flush()?)
}

fn revoke(args: &Revoke) -> Result<(), Error> {
    let gone = edit::revoke(&args.place.data()?, &args.access_key, args.force)?;
    let note = format!("revoked {} ({})", gone.access_key, gone.role.as_str());
    Ok(writeln!(std::io::stdout(), "{note}")?)
}

fn write_json(out: &mut impl Write, value: &impl Serialize) -> Result<(), Error> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(std::io::Error::from)?;
    writeln!(out)?;
    Ok(out.flush()?)
}
