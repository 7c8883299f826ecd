//! `strait serve`.

use std::process::ExitCode;

/// Arguments of `strait serve`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs `strait serve`.
pub fn run(_args: Args) -> ExitCode {
    ExitCode::FAILURE
}
