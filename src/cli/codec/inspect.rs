//! `strait codec check`, `decode` and `encode`: one look at a codec.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::base::time::Timestamp;
use crate::cli::codec::bundle::{self, Bundle, Mistake};
use crate::cli::codec::workers::Workers;
use crate::cli::codec::{INVALID, LIMIT, MISMATCH, PASS, USAGE, complain};
use crate::product::check::{self, Violation};
use crate::product::codec::fixture::RECEIVED_AT;
use crate::product::codec::text::{hex, unhex};
use crate::product::codec::{
    Codec, CodecError, Decoded, Encode, EncodeProperties, TraceEntry, Uplink,
};
use crate::product::profile::{Profile, Service};

#[derive(Debug, clap::Args)]
pub(super) struct DecodeArgs {
    /// Codec folder
    path: PathBuf,
    /// The payload; blanks between the digits are fine
    #[arg(long)]
    hex: String,
    /// Show which bytes became which field, and what a script warns of
    #[arg(long)]
    trace: bool,
    /// LoRaWAN port, for scripts that expect one
    #[arg(long = "fport", alias = "f-port", value_name = "PORT")]
    f_port: Option<u8>,
    /// When it arrived, for scripts that ask: 2020-01-01T00:00:00Z
    #[arg(long = "recv-time", value_name = "TIME", value_parser = time_of)]
    received_at: Option<Timestamp>,
    /// Print JSON on one line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct EncodeArgs {
    /// Codec folder
    path: PathBuf,
    /// Command of the product model
    #[arg(long, required_unless_present = "set", conflicts_with = "set")]
    command: Option<String>,
    /// Properties to set, as a JSON object, in place of a command
    #[arg(long, value_name = "JSON")]
    set: Option<String>,
    /// What else is known of the service, as a JSON object: it fills the message that sets
    #[arg(long, value_name = "JSON", requires = "set", default_value = "{}")]
    known: String,
    /// The service; needed only when several services have the command or the properties
    #[arg(long)]
    service: Option<String>,
    /// Parameters of the command as a JSON object
    #[arg(
        long,
        value_name = "JSON",
        conflicts_with = "set",
        default_value = "{}"
    )]
    paras: String,
    /// Correlation id
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    mid: u16,
    /// Print JSON on one line
    #[arg(long)]
    json: bool,
}

/// A time in UTC, as fixtures write it.
fn time_of(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "takes a time in UTC like 2020-01-01T00:00:00Z".to_owned())
}

/// The exit code for what a codec says.
const fn code_of(error: &CodecError) -> u8 {
    if error.is_limit() { LIMIT } else { MISMATCH }
}

pub(super) fn check(
    out: &mut impl Write,
    path: &Path,
    as_json: bool,
    workers: &Workers,
) -> io::Result<u8> {
    let dirs = match bundle::find(path) {
        Ok(dirs) => dirs,
        Err(error) => {
            complain(&error.to_string());
            return Ok(USAGE);
        }
    };
    let (dirs, skipped) = bundle::set_aside(dirs);
    for dir in skipped.iter().filter(|_| !as_json) {
        writeln!(out, "{}: skipped: {}", dir.display(), bundle::SKIPPED)?;
    }
    let mut all = Vec::new();
    for dir in &dirs {
        match bundle::load(dir, workers) {
            Ok(loaded) if !as_json => {
                let count: usize = loaded.files.iter().map(|f| f.fixtures.len()).sum();
                let model = if loaded.profile.is_some() {
                    "with"
                } else {
                    "without"
                };
                writeln!(
                    out,
                    "{}: ok, {model} product model, {count} fixtures",
                    dir.display()
                )?;
            }
            Ok(_) => {}
            Err(mistakes) => {
                if !as_json {
                    list(out, &mistakes)?;
                }
                all.extend(mistakes);
            }
        }
    }
    if as_json {
        writeln!(
            out,
            "{}",
            json!({ "ok": all.is_empty(), "errors": all, "skipped": skipped })
        )?;
    } else if !all.is_empty() {
        writeln!(out, "{} mistakes", all.len())?;
    }
    Ok(if all.is_empty() { PASS } else { INVALID })
}

pub(super) fn list(out: &mut impl Write, mistakes: &[Mistake]) -> io::Result<()> {
    mistakes
        .iter()
        .try_for_each(|mistake| writeln!(out, "{mistake}"))
}

/// The one codec at `path`, or the exit code that says why there is none.
pub(super) fn load_one(path: &Path, workers: &Workers) -> Result<Bundle, u8> {
    let dirs = bundle::find(path).map_err(|error| {
        complain(&error.to_string());
        USAGE
    })?;
    let [dir] = dirs.as_slice() else {
        complain(&format!(
            "{}: {} codecs are in there, name one",
            path.display(),
            dirs.len()
        ));
        return Err(USAGE);
    };
    bundle::load(dir, workers).map_err(|mistakes| {
        mistakes.iter().for_each(|m| complain(&m.to_string()));
        INVALID
    })
}

pub(super) fn decode(out: &mut impl Write, args: &DecodeArgs, workers: &Workers) -> io::Result<u8> {
    let Some(payload) = unhex(&args.hex) else {
        complain(&format!(
            "--hex: {:?} is no hex: pairs of 0-9, a-f",
            args.hex
        ));
        return Ok(USAGE);
    };
    let bundle = match load_one(&args.path, workers) {
        Ok(bundle) => bundle,
        Err(code) => return Ok(code),
    };
    let uplink = Uplink {
        payload: &payload,
        received_at: args.received_at.unwrap_or(RECEIVED_AT),
        f_port: args.f_port,
    };
    let mut trace = Vec::new();
    let result = bundle
        .codec
        .decode(&uplink, args.trace.then_some(&mut trace));
    if args.trace && !args.json {
        write_trace(out, &payload, &trace)?;
    }
    let mut decoded = match result {
        Ok(decoded) => decoded,
        Err(error) if args.json => {
            let mut shown = json!({ "error": error.kind(), "message": error.to_string() });
            add_trace(&mut shown, args.trace, &trace);
            writeln!(out, "{shown}")?;
            return Ok(code_of(&error));
        }
        Err(error) => {
            complain(&format!("{}: {error}", error.kind()));
            return Ok(code_of(&error));
        }
    };
    let mut broken = Vec::new();
    if let (Some(profile), Decoded::Report(report)) = (&bundle.profile, &mut decoded) {
        broken = check::report(profile, report);
    }
    let mut shown = decoded.to_json();
    if let (false, Some(map)) = (broken.is_empty(), shown.as_object_mut()) {
        map.insert("violations".to_owned(), json!(broken));
    }
    if args.json {
        add_trace(&mut shown, args.trace, &trace);
        writeln!(out, "{shown}")?;
    } else {
        writeln!(out, "{shown:#}")?;
    }
    Ok(PASS)
}

fn add_trace(shown: &mut Value, wanted: bool, trace: &[TraceEntry]) {
    if let (true, Some(map)) = (wanted, shown.as_object_mut()) {
        map.insert("trace".to_owned(), json!(trace));
    }
}

/// Offset, bytes, field and value in columns; long runs of bytes are cut.
fn write_trace(out: &mut impl Write, payload: &[u8], trace: &[TraceEntry]) -> io::Result<()> {
    let shown: Vec<(String, &TraceEntry)> = trace
        .iter()
        .map(|entry| {
            let bytes = payload.get(entry.at..entry.at + entry.len);
            let bytes = bytes.unwrap_or_default();
            let text = match bytes.get(..12) {
                Some(start) if bytes.len() > 12 => format!("{}…", hex(start)),
                _ => hex(bytes),
            };
            (text, entry)
        })
        .collect();
    let bytes = shown.iter().map(|(b, _)| b.chars().count()).max();
    let fields = trace.iter().map(|e| e.field.chars().count()).max();
    let (bytes, fields) = (bytes.unwrap_or(0), fields.unwrap_or(0));
    for (text, entry) in shown {
        let (at, field) = (entry.at, &entry.field);
        writeln!(
            out,
            "{at:>5}  {text:<bytes$}  {field:<fields$}  {}",
            entry.value
        )?;
    }
    Ok(())
}

/// What `encode` was asked for, read from its arguments.
enum Wanted<'a> {
    Command(&'a str, Map<String, Value>),
    Set(Map<String, Value>, Map<String, Value>),
}

impl<'a> Wanted<'a> {
    fn of(args: &'a EncodeArgs) -> Result<Self, String> {
        let object = |flag: &str, text: &str| {
            serde_json::from_str(text).map_err(|e| format!("{flag}: takes a JSON object, {e}"))
        };
        match (&args.command, &args.set) {
            (_, Some(set)) => Ok(Self::Set(
                object("--set", set)?,
                object("--known", &args.known)?,
            )),
            (Some(name), None) => Ok(Self::Command(name, object("--paras", &args.paras)?)),
            (None, None) => Err("takes --command or --set".to_owned()),
        }
    }

    fn check(&self, profile: &Profile, service_id: &str) -> Vec<Violation> {
        match self {
            Self::Command(name, paras) => check::command(profile, service_id, name, paras),
            Self::Set(wanted, _) => check::writable(profile, service_id, wanted),
        }
    }

    fn encode(&self, codec: &dyn Codec, service_id: &str, mid: u16) -> Result<Sent, CodecError> {
        match self {
            Self::Command(command_name, paras) => {
                let bytes = codec.encode(&Encode {
                    service_id,
                    command_name,
                    paras,
                    mid,
                })?;
                Ok((bytes, None))
            }
            Self::Set(wanted, known) => {
                let set = codec.encode_properties(&EncodeProperties {
                    service_id,
                    wanted,
                    known,
                    mid,
                })?;
                Ok((set.bytes, Some(set.covered)))
            }
        }
    }

    /// The service that has the command or the properties. Without a model any will do for a
    /// command: the codec knows.
    fn service_of(&self, bundle: &Bundle) -> Result<String, String> {
        let (flag, what) = match self {
            Self::Command(name, _) => ("--command", format!("the command {name:?}")),
            Self::Set(..) => ("--set", "these properties".to_owned()),
        };
        let has = |s: &&Service| match self {
            Self::Command(name, _) => s.command(name).is_some(),
            Self::Set(wanted, _) => wanted.keys().all(|name| s.property(name).is_some()),
        };
        let Some(profile) = &bundle.profile else {
            return match self {
                Self::Command(..) => Ok(String::new()),
                Self::Set(..) => {
                    Err("--set: there is no product model, takes --service too".into())
                }
            };
        };
        let mut services = profile.services.iter().filter(has);
        match (services.next(), services.next()) {
            (Some(only), None) => Ok(only.service_id.clone()),
            (None, _) => Err(format!(
                "{flag}: no service of the product model has {what}"
            )),
            (Some(_), Some(_)) => Err(format!(
                "{flag}: several services have {what}, name one with --service"
            )),
        }
    }
}

/// Bytes, and the names of the properties that they set.
type Sent = (Vec<u8>, Option<Vec<String>>);

pub(super) fn encode(out: &mut impl Write, args: &EncodeArgs, workers: &Workers) -> io::Result<u8> {
    let wanted = match Wanted::of(args) {
        Ok(wanted) => wanted,
        Err(message) => {
            complain(&message);
            return Ok(USAGE);
        }
    };
    let bundle = match load_one(&args.path, workers) {
        Ok(bundle) => bundle,
        Err(code) => return Ok(code),
    };
    let service = match args
        .service
        .clone()
        .map_or_else(|| wanted.service_of(&bundle), Ok)
    {
        Ok(service) => service,
        Err(message) => {
            complain(&message);
            return Ok(USAGE);
        }
    };
    let profile = bundle.profile.as_ref();
    let broken = profile.map(|profile| wanted.check(profile, &service));
    let broken = broken.unwrap_or_default();
    if !broken.is_empty() {
        for violation in &broken {
            complain(&format!("{}: {}", violation.path, violation.message));
        }
        return Ok(MISMATCH);
    }
    match wanted.encode(&*bundle.codec, &service, args.mid) {
        Ok((bytes, None)) if args.json => writeln!(out, "{}", json!({ "hex": hex(&bytes) }))?,
        Ok((bytes, Some(covered))) if args.json => {
            writeln!(out, "{}", json!({ "hex": hex(&bytes), "covered": covered }))?;
        }
        Ok((bytes, covered)) => {
            writeln!(out, "{}", hex(&bytes))?;
            if let (Wanted::Set(all, _), Some(covered)) = (&wanted, covered) {
                let names = all.keys().filter(|name| !covered.contains(name));
                let left: Vec<&str> = names.map(String::as_str).collect();
                if !left.is_empty() {
                    let note = format!("not in this message: {}", left.join(", "));
                    let _closed = writeln!(io::stderr(), "{note}").is_err();
                }
            }
        }
        Err(error) => {
            complain(&format!("{}: {error}", error.kind()));
            return Ok(code_of(&error));
        }
    }
    Ok(PASS)
}
