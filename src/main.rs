//! The `strait` program: parses arguments and runs one subcommand.

use std::process::ExitCode;

use strait::cli::{parse, run};

fn main() -> ExitCode {
    parse().map_or_else(|code| code, run)
}
