//! `strait store`.

use std::process::ExitCode;

/// Arguments of `strait store`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs `strait store`.
pub fn run(_args: Args) -> ExitCode {
    ExitCode::FAILURE
}
