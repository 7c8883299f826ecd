//! `strait config` and `strait check-config`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::config;

/// Arguments of `strait check-config`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Configuration file (TOML)
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// As `strait serve --no-auth` would be started
    #[arg(long)]
    no_auth: bool,
}

/// Arguments of `strait config`.
#[derive(Debug, clap::Args)]
pub struct PrintArgs {}

/// Reads the file with the environment over it, as `strait serve --config` would.
pub fn check(args: CheckArgs) -> ExitCode {
    let checked = config::load(Some(&args.file), std::env::vars()).and_then(|mut config| {
        config.http.no_auth |= args.no_auth;
        config.check()?;
        config.http.tls().map(drop)
    });
    match checked {
        Ok(()) => {
            drop(writeln!(std::io::stdout(), "{}: fine", args.file.display()));
            ExitCode::SUCCESS
        }
        Err(error) => {
            drop(writeln!(
                std::io::stderr(),
                "{}: {error}",
                args.file.display()
            ));
            ExitCode::from(2)
        }
    }
}

/// Prints the commented template.
pub fn print(_args: PrintArgs) -> ExitCode {
    match std::io::stdout().write_all(config::TEMPLATE.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
