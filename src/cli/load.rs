//! `strait load`.

use std::process::ExitCode;

/// Arguments of `strait load`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs `strait load`.
pub fn run(_args: Args) -> ExitCode {
    ExitCode::FAILURE
}
