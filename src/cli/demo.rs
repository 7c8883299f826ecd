//! `strait demo`.

use std::process::ExitCode;

/// Arguments of `strait demo`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs `strait demo`.
pub fn run(_args: Args) -> ExitCode {
    ExitCode::FAILURE
}
