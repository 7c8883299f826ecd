//! `strait config` and `strait check-config`.

use std::process::ExitCode;

/// Arguments of `strait check-config`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {}

/// Arguments of `strait config`.
#[derive(Debug, clap::Args)]
pub struct PrintArgs {}

/// Runs `strait check-config`.
pub fn check(_args: CheckArgs) -> ExitCode {
    ExitCode::FAILURE
}

/// Runs `strait config`.
pub fn print(_args: PrintArgs) -> ExitCode {
    ExitCode::FAILURE
}
