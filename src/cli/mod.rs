//! The command line: one file per subcommand. Each prints through `writeln!`, so that a closed
//! pipe is no panic. Exit codes: 0 fine, 1 what was asked for failed, 2 usage or configuration;
//! `codec` has its own.

pub mod codec;
pub mod codec_worker;
pub mod config;
pub mod credentials;
pub mod demo;
pub mod load;
pub mod openapi;
pub mod progress;
pub mod samples;
pub mod serve;
pub mod sim;
pub mod store;
pub mod svg;
pub mod tail;
pub mod values;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Platform server for NB-IoT devices.
#[derive(Debug, Parser)]
#[command(name = "strait", version, about, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::Args),
    /// See it work: a server in a temporary directory with simulated devices
    Demo(demo::Args),
    /// Write, check and test codecs
    Codec(codec::Args),
    /// Runs codecs for a server, which starts it itself
    #[command(hide = true)]
    CodecWorker,
    /// Simulated devices against any server
    Sim(Box<sim::Args>),
    /// Load generator against any CoAP or LwM2M server
    Load(Box<load::Args>),
    /// Print what a server pushes, as it comes
    Tail(tail::Args),
    /// Who may use the HTTP API: add, list, revoke
    Credentials(credentials::Args),
    /// Verify, back up and restore a data directory
    Store(store::Args),
    /// Validate a configuration file
    CheckConfig(config::CheckArgs),
    /// Print a commented configuration template
    Config(config::PrintArgs),
    /// Print the OpenAPI document of the HTTP interface
    Openapi,
}

/// Reads the arguments. The exit code of wrong ones is 2, below `codec` its own, as
/// help and version are 0; what is wrong has been printed.
pub fn parse() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|error| {
        let _closed = error.print().is_err();
        let below_codec = std::env::args_os()
            .skip(1)
            .find(|arg| !arg.as_encoded_bytes().starts_with(b"-"))
            .is_some_and(|arg| arg == "codec");
        match (error.use_stderr(), below_codec) {
            (false, _) => ExitCode::SUCCESS,
            (true, true) => ExitCode::from(codec::USAGE),
            (true, false) => ExitCode::from(2),
        }
    })
}

/// Runs the subcommand and says how it went.
pub fn run(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Codec(args) => codec::run(args),
        Command::CodecWorker => codec_worker::run(),
        Command::Sim(args) => sim::run(*args),
        Command::Load(args) => load::run(*args),
        Command::Tail(args) => tail::run(args),
        Command::Credentials(args) => credentials::run(args),
        Command::Store(args) => store::run(args),
        Command::CheckConfig(args) => config::check(args),
        Command::Config(args) => config::print(args),
        Command::Openapi => openapi::print(),
    }
}
