//! The `strait` program: parses arguments and runs one subcommand.

use std::process::ExitCode;

use clap::Parser;
use strait::cli::{Cli, run};

fn main() -> ExitCode {
    run(Cli::parse())
}
