//! The `strait` program: parses arguments and runs one subcommand.

use std::process::ExitCode;

use strait::cli::{parse, run};

/// Less processor time for an uplink than with the system's allocator (`docs/decisions/0013-allocator.md`).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    parse().map_or_else(|code| code, run)
}
