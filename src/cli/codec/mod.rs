//! `strait codec`: for those who write codecs. A codec is a folder with one of `codec.toml`,
//! `codec.js` and `codec.wasm`, and beside it `profile.json` (the body that creates the product),
//! `fixtures/*.json` and, for who needs it, `settings.json` (the product's settings). Scripts run as
//! in production: in a worker process, within its limits.
//!
//! Exit codes: 0 pass, 1 mismatch, 2 invalid codec, 3 a limit of production was hit, 64 usage.

mod bench;
mod bundle;
mod fuzz;
mod import;
mod inspect;
mod new;
mod report;
mod schema;
mod test;
mod workers;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};

/// Exit codes of `strait codec`.
const PASS: u8 = 0;
const MISMATCH: u8 = 1;
const INVALID: u8 = 2;
const LIMIT: u8 = 3;
/// Usage, here and for arguments that clap refuses (`EX_USAGE` of sysexits).
pub(super) const USAGE: u8 = 64;

/// Arguments of `strait codec`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a codec that works, to start from
    New {
        /// Folder to create; its name becomes the product id
        dir: PathBuf,
        #[arg(long, value_enum, default_value_t = Kind::Table)]
        kind: Kind,
        /// What a script defines; only with --kind script
        #[arg(long, value_enum)]
        contract: Option<Contract>,
    },
    /// List every mistake with its place
    Check {
        /// Codec folder, or a folder of them
        path: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what bytes mean
    Decode(inspect::DecodeArgs),
    /// Show the bytes of a command, or of a message that sets properties
    Encode(inspect::EncodeArgs),
    /// Print the JSON schema of codec.toml, for editors
    Schema,
    /// Run the fixtures
    Test(test::Args),
    /// Measure how fast the fixtures' inputs are read and written
    Bench(bench::Args),
    /// Feed it random and broken input, and look for what hurts
    Fuzz(fuzz::Args),
    /// Make a codec folder of what was written for other platforms
    Import(import::Args),
}

/// The kinds of codecs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A declaration of messages and fields (`codec.toml`)
    Table,
    /// JavaScript (`codec.js`)
    Script,
    /// WebAssembly component (`codec.wasm`)
    Wasm,
}

/// What a script defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Contract {
    /// decode(payload, topic) and encode(json), which exchange JSON text
    Iotda,
    /// decodeUplink(input) and encodeDownlink(input) of the LoRa Alliance
    Ts013,
    /// decode(bytes) and encode(object) of offline codec plugins
    Offline,
}

/// Runs `strait codec`.
pub fn run(args: Args) -> ExitCode {
    let mut out = io::stdout().lock();
    let workers = workers::Workers::default();
    let code = match args.command {
        Command::New {
            dir,
            kind,
            contract,
        } => new::run(&mut out, &dir, kind, contract),
        Command::Check { path, json } => inspect::check(&mut out, &path, json, &workers),
        Command::Decode(args) => inspect::decode(&mut out, &args, &workers),
        Command::Encode(args) => inspect::encode(&mut out, &args, &workers),
        Command::Schema => schema::print(&mut out),
        Command::Test(args) => test::run(&mut out, &args, &workers),
        Command::Bench(args) => bench::run(&mut out, &args, &workers),
        Command::Fuzz(args) => fuzz::run(&mut out, &args, &workers),
        Command::Import(args) => import::run(&mut out, &args, &workers),
    };
    match code.and_then(|code| out.flush().map(|()| code)) {
        Ok(code) => ExitCode::from(code),
        // The reader has seen enough, as with `head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(PASS),
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(MISMATCH)
        }
    }
}

/// A line on stderr; a closed stderr is nobody's concern.
fn complain(text: &str) {
    let _closed = writeln!(io::stderr(), "error: {text}").is_err();
}
