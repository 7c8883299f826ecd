//! `strait codec`.

use std::process::ExitCode;

/// Arguments of `strait codec`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs `strait codec`.
pub fn run(_args: Args) -> ExitCode {
    ExitCode::FAILURE
}
