//! A codec's folder: finding it, reading it, and everything that is wrong with it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::error::Category;

use crate::product::check;
use crate::product::codec::fixture::{self, Fixture};
use crate::product::codec::{self, Codec, LoadError};
use crate::product::profile::Profile;

/// Folders below the given one that are searched for codecs.
const DEPTH_MAX: usize = 4;
const SOURCE: &str = "codec.toml";

/// A codec that loaded.
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) name: String,
    pub(super) profile: Option<Profile>,
    pub(super) codec: Arc<dyn Codec>,
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

/// Every codec folder at or below `path`, sorted; `codec.toml` itself stands for its folder.
pub(super) fn find(path: &Path) -> io::Result<Vec<PathBuf>> {
    if path.is_file() && path.file_name().is_some_and(|name| name == SOURCE) {
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
        return Ok(vec![parent.unwrap_or_else(|| Path::new(".")).to_owned()]);
    }
    let mut found = Vec::new();
    search(path, 0, &mut found)?;
    found.sort();
    if found.is_empty() {
        let message = format!("{}: no {SOURCE} in it or below", path.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, message));
    }
    Ok(found)
}

fn search(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) -> io::Result<()> {
    if dir.join(SOURCE).is_file() {
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

/// Loads a codec's folder; every mistake in any of its files is listed.
pub(super) fn load(dir: &Path) -> Result<Bundle, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let profile = read_profile(&dir.join("profile.json"), &mut mistakes);
    let source = dir.join(SOURCE);
    let compiled = match fs::read(&source) {
        Ok(bytes) => match codec::compile(codec::Kind::Table, &bytes, profile.as_ref(), None) {
            Ok(codec) => Some(codec),
            Err(errors) => {
                mistakes.extend(errors.into_iter().map(|e| Mistake::at(&source, e)));
                None
            }
        },
        Err(error) => {
            mistakes.push(Mistake::of(&source, error.to_string()));
            None
        }
    };
    let files = read_fixtures(&dir.join("fixtures"), &mut mistakes);
    match compiled {
        Some(codec) if mistakes.is_empty() => Ok(Bundle {
            name: name_of(dir),
            profile,
            codec,
            files,
        }),
        _ => Err(mistakes),
    }
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
