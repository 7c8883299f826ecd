//! `strait sim`.

use std::process::ExitCode;

/// Arguments of `strait sim`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs `strait sim`.
pub fn run(_args: Args) -> ExitCode {
    ExitCode::FAILURE
}
