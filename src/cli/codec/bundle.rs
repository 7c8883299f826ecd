//! A codec's folder: finding it, reading it, and everything that is wrong with it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::error::Category;

use crate::cli::codec::workers::Workers;
use crate::product::check;
use crate::product::codec::call::{Options, Outside};
use crate::product::codec::fixture::{self, Fixture};
use crate::product::codec::{self, Codec, LoadError};
use crate::product::profile::Profile;
use crate::product::settings::Settings;

/// Folders below the given one that are searched for codecs.
const DEPTH_MAX: usize = 4;
/// What a codec may be written in; a folder has exactly one of them. `None`: this build has nothing
/// that runs it.
const SOURCES: [(&str, Option<codec::Kind>); 3] = [
    ("codec.toml", Some(codec::Kind::Table)),
    ("codec.js", Some(codec::Kind::Script)),
    (
        "codec.wasm",
        if codec::wasm::IS_HERE {
            Some(codec::Kind::Wasm)
        } else {
            None
        },
    ),
];

/// A codec that loaded.
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) name: String,
    pub(super) profile: Option<Profile>,
    pub(super) codec: Arc<dyn Codec>,
    /// What runs in a worker, for a codec that has code of its own.
    pub(super) outside: Option<Outside>,
    pub(super) files: Vec<FixtureFile>,
}

/// One file of fixtures.
#[derive(Debug)]
pub(super) struct FixtureFile {
    pub(super) path: PathBuf,
    pub(super) fixtures: Vec<Fixture>,
}

/// One mistake, with its file and as much of a place as is known.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Mistake {
    pub(super) file: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) column: Option<u32>,
    pub(super) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hint: Option<String>,
}

impl Mistake {
    fn at(file: &Path, error: LoadError) -> Self {
        Self {
            file: file.to_owned(),
            line: Some(error.line),
            column: Some(error.column),
            message: error.message,
            hint: error.hint,
        }
    }

    fn of(file: &Path, message: String) -> Self {
        Self {
            file: file.to_owned(),
            line: None,
            column: None,
            message,
            hint: None,
        }
    }

    fn json(file: &Path, error: &serde_json::Error) -> Self {
        let place = |n: usize| u32::try_from(n).ok().filter(|n| *n > 0);
        let text = error.to_string();
        // The place stands in front already.
        let what = text.rfind(" at line ").and_then(|at| text.get(..at));
        let what = what.unwrap_or(&text);
        let message = match error.classify() {
            Category::Syntax | Category::Eof => format!("not JSON: {what}"),
            Category::Data | Category::Io => what.to_owned(),
        };
        Self {
            line: place(error.line()),
            column: place(error.column()),
            ..Self::of(file, message)
        }
    }
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Every codec folder at or below `path`, sorted; a codec's source stands for its folder.
pub(super) fn find(path: &Path) -> io::Result<Vec<PathBuf>> {
    let named = |(name, _): &(&str, _)| path.file_name().is_some_and(|n| n == *name);
    if path.is_file() && SOURCES.iter().any(named) {
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
        return Ok(vec![parent.unwrap_or_else(|| Path::new(".")).to_owned()]);
    }
    let mut found = Vec::new();
    search(path, 0, &mut found)?;
    found.sort();
    if found.is_empty() {
        let names = SOURCES.map(|(name, _)| name).join(", ");
        let message = format!("{}: none of {names} in it or below", path.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, message));
    }
    Ok(found)
}

fn search(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) -> io::Result<()> {
    if SOURCES.iter().any(|(name, _)| dir.join(name).is_file()) {
        found.push(dir.to_owned());
        return Ok(());
    }
    let entries = fs::read_dir(dir)
        .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", dir.display())))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() && depth < DEPTH_MAX {
            search(&path, depth + 1, found)?;
        }
    }
    Ok(())
}

/// Why a codec in WebAssembly is passed over in a build that has no runtime for it.
pub(super) const SKIPPED: &str = "this build has no wasm, build with --features wasm";

/// Folders that were asked for together, in two groups: those that run, and those that are skipped
/// since no part of this build runs their codec. One that is asked for by itself is never skipped:
/// it is an error then.
pub(super) fn set_aside(dirs: Vec<PathBuf>) -> (Vec<PathBuf>, Vec<PathBuf>) {
    if dirs.len() < 2 {
        return (dirs, Vec::new());
    }
    let runs = |dir: &PathBuf| {
        let mut there = SOURCES.iter().filter(|(name, _)| dir.join(name).is_file());
        !matches!((there.next(), there.next()), (Some((_, None)), None))
    };
    dirs.into_iter().partition(runs)
}

/// Loads a codec's folder; every mistake in any of its files is listed. Code of the codec's own is
/// run by `workers`, here when it is loaded and later when it is called.
pub(super) fn load(dir: &Path, workers: &Workers) -> Result<Bundle, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let profile = read_profile(&dir.join("profile.json"), &mut mistakes);
    let settings = dir.join("settings.json");
    let service = read_settings(&settings, profile.as_ref(), &mut mistakes);
    let compiled = compile(dir, profile.as_ref(), service.as_deref(), &mut mistakes);
    let outside = compiled
        .as_ref()
        .and_then(|codec| codec.outside().map(standing));
    let codec = match &outside {
        Some(outside) => run_outside(dir, outside, workers, &mut mistakes),
        None => compiled,
    };
    let files = read_fixtures(&dir.join("fixtures"), &mut mistakes);
    match codec {
        Some(codec) if mistakes.is_empty() => Ok(Bundle {
            name: name_of(dir),
            profile,
            codec,
            outside,
            files,
        }),
        _ => Err(mistakes),
    }
}

/// The same with a clock that stands: what a script encodes is the same each time.
fn standing(codec: &Outside) -> Outside {
    let options = Options {
        stands_at: Some(fixture::RECEIVED_AT),
        ..Options::clone(&codec.options)
    };
    Outside::new(codec.kind, &codec.source, options)
}

/// The folder's only source, with the path that mistakes name.
fn source_of(dir: &Path) -> Result<(PathBuf, codec::Kind), Mistake> {
    let there = |(name, _): &&(&str, _)| dir.join(name).is_file();
    let found: Vec<_> = SOURCES.iter().filter(there).collect();
    match found.as_slice() {
        [(name, Some(kind))] => Ok((dir.join(name), *kind)),
        [(name, None)] => Err(Mistake {
            hint: Some(codec::wasm::HOW_TO_BUILD.to_owned()),
            ..Mistake::of(&dir.join(name), codec::wasm::NOT_HERE.to_owned())
        }),
        [] => Err(Mistake::of(dir, "the codec is gone".to_owned())),
        several => {
            let names: Vec<&str> = several.iter().map(|(name, _)| *name).collect();
            Err(Mistake {
                hint: Some("keep the one that counts, move the others away".to_owned()),
                ..Mistake::of(
                    dir,
                    format!("has {}, takes one of them", names.join(" and ")),
                )
            })
        }
    }
}

fn compile(
    dir: &Path,
    profile: Option<&Profile>,
    service: Option<&str>,
    mistakes: &mut Vec<Mistake>,
) -> Option<Arc<dyn Codec>> {
    let (source, kind) = source_of(dir).map_err(|m| mistakes.push(m)).ok()?;
    let read = fs::read(&source).map_err(|e| Mistake::of(&source, e.to_string()));
    let bytes = read.map_err(|m| mistakes.push(m)).ok()?;
    // The table's own loader says it with a hint.
    if kind != codec::Kind::Table && bytes.len() > kind.source_max() {
        let (got, most) = (bytes.len(), kind.source_max());
        let message = format!("has {got} bytes, a codec takes up to {most}");
        mistakes.push(Mistake::of(&source, message));
        return None;
    }
    let compiled = codec::compile(kind, &bytes, profile, service);
    let listed = |errors: Vec<LoadError>| {
        mistakes.extend(errors.into_iter().map(|e| Mistake::at(&source, e)));
    };
    compiled.map_err(listed).ok()
}

fn run_outside(
    dir: &Path,
    outside: &Outside,
    workers: &Workers,
    mistakes: &mut Vec<Mistake>,
) -> Option<Arc<dyn Codec>> {
    let source = source_of(dir).map_or_else(|_| dir.to_owned(), |(path, _)| path);
    match workers.load(outside) {
        Ok(codec) => Some(codec),
        Err(errors) => {
            mistakes.extend(errors.into_iter().map(|e| Mistake::at(&source, e)));
            None
        }
    }
}

/// The product's settings as the API takes them; the codec needs its service for TS013 alone.
fn read_settings(
    path: &Path,
    profile: Option<&Profile>,
    mistakes: &mut Vec<Mistake>,
) -> Option<String> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            mistakes.push(Mistake::of(path, error.to_string()));
            return None;
        }
    };
    let settings: Settings = match serde_json::from_str(&text) {
        Ok(settings) => settings,
        Err(error) => {
            mistakes.push(Mistake::json(path, &error));
            return None;
        }
    };
    if let (Some(service), Some(profile)) = (&settings.ts013_service, profile)
        && profile.service(service).is_none()
    {
        let known = profile.services.iter().map(|s| s.service_id.as_str());
        let known: Vec<&str> = known.collect();
        let known = known.join(", ");
        let message = format!("ts013_service: got {service:?}, the product model has {known}");
        mistakes.push(Mistake::of(path, message));
    }
    settings.ts013_service
}

/// The folder's own name, also when it is given as `.`.
pub(super) fn name_of(dir: &Path) -> String {
    let full = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let name = full.file_name().map(|n| n.to_string_lossy().into_owned());
    name.unwrap_or_else(|| dir.display().to_string())
}

/// The body that creates the product; its services are the model.
#[derive(Deserialize)]
#[serde(expecting = "an object with `service_capabilities`, as it creates the product")]
struct Product {
    service_capabilities: Profile,
}

fn read_profile(path: &Path, mistakes: &mut Vec<Mistake>) -> Option<Profile> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            mistakes.push(Mistake::of(path, unread(&error)));
            return None;
        }
    };
    let product: Product = match serde_json::from_str(&text) {
        Ok(product) => product,
        Err(error) => {
            mistakes.push(Mistake::json(path, &error));
            return None;
        }
    };
    for violation in check::model(&product.service_capabilities) {
        let message = format!("{}: {}", violation.path, violation.message);
        mistakes.push(Mistake::of(path, message));
    }
    Some(product.service_capabilities)
}

/// Why a file of text can't be read.
fn unread(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::InvalidData => "the file is not UTF-8 text".to_owned(),
        _ => error.to_string(),
    }
}

fn read_fixtures(dir: &Path, mistakes: &mut Vec<Mistake>) -> Vec<FixtureFile> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "json"));
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                mistakes.push(Mistake::of(&path, unread(&error)));
                continue;
            }
        };
        match fixture::parse(&text) {
            Ok(fixtures) => files.push(FixtureFile { path, fixtures }),
            Err(fixture::FixtureError::Json(error)) => mistakes.push(Mistake::json(&path, &error)),
            Err(error) => mistakes.push(Mistake::of(&path, error.to_string())),
        }
    }
    files
}
