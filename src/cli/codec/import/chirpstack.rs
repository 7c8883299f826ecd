//! The layout of ChirpStack's device profiles:
//!
//! ```text
//! vendors/<vendor>/codecs/<codec>.js
//! vendors/<vendor>/codecs/test_decode_<codec>.json   [{name, input: {fPort, bytes}, expected: {data}}]
//! vendors/<vendor>/codecs/test_encode_<codec>.json   [{name, input: {data}, expected: {bytes}}]
//! ```
//!
//! The tests have comments and hex numbers; files named without the codec are taken too.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::examples::Examples;
use super::{
    Draft, FILE_MAX, ImportError, files_in, name_of, only, read_script, read_text, relaxed, stem_of,
};

#[derive(Debug, Deserialize)]
struct Test {
    name: Option<String>,
    input: Value,
    expected: Value,
}

pub(super) fn read(path: &Path) -> Result<Draft, ImportError> {
    let file = if path.is_dir() {
        only(path, files_in(path, |name| name.ends_with(".js"))?, "js")?
    } else {
        path.to_owned()
    };
    let script = read_script(&file)?;
    let dir = file.parent().unwrap_or_else(|| Path::new("."));
    let stem = stem_of(&file);
    let mut examples = Examples::default();
    let mut count = 0;
    for way in ["decode", "encode"] {
        for name in [
            format!("test_{way}_{stem}.json"),
            format!("test_{way}.json"),
        ] {
            let tests = dir.join(name);
            if !tests.is_file() {
                continue;
            }
            for (test, number) in parse(&tests)?.iter().zip(1..) {
                count += 1;
                let name = test.name.clone();
                let name = name.unwrap_or_else(|| format!("{way} {number}"));
                if way == "decode" {
                    examples.add_uplink(&name, &test.input, &test.expected);
                } else {
                    examples.add_downlink(&name, &test.input, &test.expected);
                }
            }
        }
    }
    if count == 0 {
        let note = format!("there is no test_decode_{stem}.json beside the script");
        examples.notes.push(note);
    }
    // vendors/<vendor>/codecs
    let vendor = dir.canonicalize().ok();
    let vendor = vendor.as_deref().and_then(|dir| {
        let codecs = dir.file_name().is_some_and(|name| name == "codecs");
        dir.parent().filter(|_| codecs)?.file_name()
    });
    let maker = vendor.map(|name| name.to_string_lossy().into_owned());
    Ok(examples.draft(name_of(&stem), maker, script))
}

fn parse(file: &Path) -> Result<Vec<Test>, ImportError> {
    let text = relaxed::to_json(&read_text(file, FILE_MAX)?);
    serde_json::from_str(&text).map_err(|e| ImportError::at(file, e))
}
