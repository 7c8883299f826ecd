//! The layout of the LoRaWAN device repository:
//!
//! ```text
//! vendor/<vendor>/<codec>.yaml   uplinkDecoder, downlinkEncoder, downlinkDecoder:
//!                                fileName, examples: description, input, output, normalizedOutput
//! vendor/<vendor>/<script>.js
//! ```
//!
//! Encoder and decoder may be different files; then what is not the decoder is wrapped, so that
//! the two don't see each other's names.

use std::path::{Component, Path};

use serde::Deserialize;
use serde_json::Value;

use super::examples::Examples;
use super::{
    Draft, FILE_MAX, ImportError, files_in, name_of, only, read_script, read_text, stem_of,
};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Codec {
    uplink_decoder: Option<Part>,
    downlink_encoder: Option<Part>,
    downlink_decoder: Option<Part>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Part {
    file_name: String,
    examples: Option<Vec<Example>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Example {
    description: Option<String>,
    input: Value,
    output: Value,
    normalized_output: Option<Value>,
}

pub(super) fn read(path: &Path) -> Result<Draft, ImportError> {
    let file = if path.is_dir() {
        only(path, codecs_in(path)?, "yaml with an uplinkDecoder")?
    } else {
        path.to_owned()
    };
    let codec = parse(&file)?;
    let dir = file.parent().unwrap_or_else(|| Path::new("."));
    let Some(decoder) = &codec.uplink_decoder else {
        return Err(ImportError::at(&file, "has no uplinkDecoder"));
    };
    let mut script = script_of(&file, dir, decoder)?;
    let others = [
        ("encodeDownlink", &codec.downlink_encoder),
        ("decodeDownlink", &codec.downlink_decoder),
    ];
    for (function, part) in others {
        if let Some(part) = part
            && part.file_name != decoder.file_name
        {
            let other = script_of(&file, dir, part)?;
            script.push_str(&wrapped(function, &part.file_name, &other));
        }
    }
    let mut examples = Examples::default();
    let mut normalized = 0;
    for (name, example) in named(decoder) {
        normalized += usize::from(example.normalized_output.is_some());
        examples.add_uplink(&name, &example.input, &example.output);
    }
    if normalized > 0 {
        examples.notes.push(format!(
            "normalizedOutput of {normalized} examples is left out: what decodeUplink gives is tested"
        ));
    }
    for (name, example) in codec.downlink_encoder.iter().flat_map(named) {
        examples.add_downlink(&name, &example.input, &example.output);
    }
    let unread = codec.downlink_decoder.iter().flat_map(named).count();
    if unread > 0 {
        examples.notes.push(format!(
            "{unread} examples of downlinkDecoder are left out: commands are read back instead"
        ));
    }
    let maker = dir.canonicalize().ok();
    let maker = maker.and_then(|dir| Some(dir.file_name()?.to_string_lossy().into_owned()));
    let stem = stem_of(&file);
    let name = name_of(stem.strip_suffix("-codec").unwrap_or(&stem));
    Ok(examples.draft(name, maker, script))
}

/// Descriptions of codecs, not of devices and vendors, which are yaml too.
fn codecs_in(dir: &Path) -> Result<Vec<std::path::PathBuf>, ImportError> {
    let yaml = |name: &str| name.ends_with(".yaml") || name.ends_with(".yml");
    let mut found = files_in(dir, yaml)?;
    found.retain(|path| {
        let text = read_text(path, FILE_MAX).unwrap_or_default();
        text.lines().any(|line| line.starts_with("uplinkDecoder:"))
    });
    Ok(found)
}

fn parse(file: &Path) -> Result<Codec, ImportError> {
    let text = read_text(file, FILE_MAX)?;
    let options = serde_saphyr::options! {
        // As YAML 1.2 reads it: on and off are text.
        strict_booleans: true,
    };
    serde_saphyr::from_str_with_options(&text, options).map_err(|e| ImportError::at(file, e))
}

/// A script beside the yaml; nothing outside of its folder is read.
fn script_of(file: &Path, dir: &Path, part: &Part) -> Result<String, ImportError> {
    let name = Path::new(&part.file_name);
    let plain = name.components().all(|c| matches!(c, Component::Normal(_)));
    if part.file_name.is_empty() || !plain {
        let got = &part.file_name;
        let reason = format!("fileName: got {got:?}, takes a file in its folder");
        return Err(ImportError::at(file, reason));
    }
    read_script(&dir.join(name))
}

/// Examples with their descriptions, or numbers where those are missing.
fn named(part: &Part) -> impl Iterator<Item = (String, &Example)> {
    let examples = part.examples.iter().flatten();
    examples.zip(1..).map(|(example, number)| {
        let name = example.description.clone();
        (name.unwrap_or_else(|| format!("example {number}")), example)
    })
}

fn wrapped(function: &str, file: &str, script: &str) -> String {
    format!(
        "\n// From {file}, in a scope of its own.\nvar {function} = (function () {{\n{script}\n\
         return {function};\n}})();\n"
    )
}
