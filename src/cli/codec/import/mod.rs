//! `strait codec import`: a codec folder of what was written for other platforms: the script as it
//! is, its examples as fixtures, and a product model that its examples speak. What was done and what
//! could not be taken over is told, and the new codec is tested at once.

mod chirpstack;
mod examples;
mod iotda;
mod model;
mod relaxed;
mod ttn;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::base::ids::ProductId;
use crate::base::limits::CODEC_SOURCE_MAX;
use crate::cli::codec::workers::Workers;
use crate::cli::codec::{INVALID, MISMATCH, USAGE, complain, report, test};
use crate::product::profile::Profile;

/// Largest description and list of examples that is read.
const FILE_MAX: u64 = 4 * 1024 * 1024;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, clap::Subcommand)]
enum From {
    /// A codec of the LoRaWAN device repository: its yaml, or a folder with one of them
    Ttn(Place),
    /// A codec of ChirpStack's device profiles: its js, or a folder with one of them
    Chirpstack(Place),
    /// A product model of IoTDA: its zip, with the script beside it
    Iotda {
        #[command(flatten)]
        place: Place,
        /// The script, if it is not the only one beside the zip
        #[arg(long, value_name = "FILE")]
        script: Option<PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
struct Place {
    /// What to import
    path: PathBuf,
    /// Folder to write; without it, one of the codec's name here
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Write also where something is already
    #[arg(long)]
    force: bool,
}

/// What an import found.
#[derive(Debug)]
struct Draft {
    /// Becomes the folder and the product id.
    name: String,
    manufacturer: Option<String>,
    script: String,
    product: Product,
    fixtures: Vec<Value>,
    /// What was not taken over, and why.
    notes: Vec<String>,
}

/// What the product's body says besides its names.
#[derive(Debug)]
struct Product {
    device_type: String,
    protocol_type: String,
    data_format: String,
    industry: Option<String>,
    description: Option<String>,
    profile: Profile,
}

/// Why there is nothing to write.
#[derive(Debug, thiserror::Error)]
enum ImportError {
    #[error("{}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    #[error("{0}")]
    Usage(String),
}

impl ImportError {
    fn at(path: &Path, reason: impl ToString) -> Self {
        Self::File {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}

pub(super) fn run(out: &mut impl Write, args: &Args, workers: &Workers) -> io::Result<u8> {
    let (place, draft) = match &args.from {
        From::Ttn(place) => (place, ttn::read(&place.path)),
        From::Chirpstack(place) => (place, chirpstack::read(&place.path)),
        From::Iotda { place, script } => (place, iotda::read(&place.path, script.as_deref())),
    };
    let draft = match draft {
        Ok(draft) => draft,
        Err(error) => {
            complain(&error.to_string());
            return Ok(match error {
                ImportError::File { .. } => INVALID,
                ImportError::Usage(_) => USAGE,
            });
        }
    };
    let dir = place
        .to
        .clone()
        .unwrap_or_else(|| draft.name.clone().into());
    let taken = fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_some());
    if dir.is_file() || taken && !place.force {
        let there = dir.display();
        complain(&format!(
            "{there}: is there already, --force writes into it"
        ));
        return Ok(MISMATCH);
    }
    write(out, &dir, &draft)?;
    for note in &draft.notes {
        writeln!(out, "note: {note}")?;
    }
    let suites = [test::run_suite(&dir, None, workers)];
    report::write_text(out, &suites, &[], test::is_coloured())?;
    Ok(test::code_of(&suites))
}

fn write(out: &mut impl Write, dir: &Path, draft: &Draft) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let mut files = vec![
        ("profile.json", format!("{:#}\n", body(draft))),
        ("codec.js", draft.script.clone()),
    ];
    if draft.fixtures.is_empty() {
        writeln!(out, "no examples: write fixtures with what `decode` shows")?;
    } else {
        fs::create_dir_all(dir.join("fixtures"))?;
        let fixtures = Value::Array(draft.fixtures.clone());
        files.push(("fixtures/imported.json", format!("{fixtures:#}\n")));
    }
    for (file, text) in files {
        let path = dir.join(file);
        fs::write(&path, text).map_err(|e| {
            let message = format!("{}: {e}", path.display());
            io::Error::new(e.kind(), message)
        })?;
        writeln!(out, "{}", path.display())?;
    }
    Ok(())
}

/// The body that creates the product.
fn body(draft: &Draft) -> Value {
    let product = &draft.product;
    let mut services = json!(product.profile);
    strip_nulls(&mut services);
    let mut body = json!({
        "product_id": draft.name,
        "name": draft.name,
        "device_type": product.device_type,
        "protocol_type": product.protocol_type,
        "data_format": product.data_format,
        "manufacturer_name": draft.manufacturer,
        "industry": product.industry,
        "description": product.description,
        "service_capabilities": services,
    });
    strip_nulls(&mut body);
    body
}

/// What is not known is not written.
fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

/// A file of text up to a size.
fn read_text(path: &Path, max: u64) -> Result<String, ImportError> {
    let meta = fs::metadata(path).map_err(|e| ImportError::at(path, e))?;
    if meta.len() > max {
        let reason = format!("has {} bytes, takes up to {max}", meta.len());
        return Err(ImportError::at(path, reason));
    }
    fs::read_to_string(path).map_err(|e| ImportError::at(path, e))
}

fn read_script(path: &Path) -> Result<String, ImportError> {
    read_text(path, u64::try_from(CODEC_SOURCE_MAX).unwrap_or(u64::MAX))
}

/// The files of a folder that are named so, sorted.
fn files_in(dir: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, ImportError> {
    let entries = fs::read_dir(dir).map_err(|e| ImportError::at(dir, e))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let named = |path: &PathBuf| {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
        path.is_file() && name.is_some_and(|name| wanted(&name))
    };
    let mut found: Vec<PathBuf> = paths.filter(named).collect();
    found.sort();
    Ok(found)
}

/// The one of several, or which there are.
fn only(dir: &Path, mut found: Vec<PathBuf>, what: &str) -> Result<PathBuf, ImportError> {
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        (None, _) => Err(ImportError::at(dir, format!("has no {what}"))),
        (Some(last), false) => {
            found.push(last);
            let names = found.iter().filter_map(|path| path.file_name());
            let names: Vec<_> = names.map(|n| n.to_string_lossy()).collect();
            Err(ImportError::Usage(format!(
                "{}: has several, name one: {}",
                dir.display(),
                names.join(", ")
            )))
        }
    }
}

/// A name that a product id can be, as near to `text` as possible.
fn name_of(text: &str) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = text.chars().map(kept).take(64).collect();
    let name = name.trim_matches('-').to_owned();
    if ProductId::parse(&name).is_ok() {
        name
    } else {
        "imported".to_owned()
    }
}

/// Text of a path's file name without its ending.
fn stem_of(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}
