//! The loader's error table, properties of codecs that load, and what the platform sends besides
//! commands.

mod mutations;
mod properties;
mod sent;

use std::fs;
use std::path::{Path, PathBuf};

use crate::product::codec::LoadError;
use crate::product::codec::table::load;
use crate::product::profile::Profile;

pub(super) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub(super) fn profile_of(dir: &Path) -> Profile {
    let text = fs::read_to_string(dir.join("profile.json")).unwrap();
    let product: serde_json::Value = serde_json::from_str(&text).unwrap();
    serde_json::from_value(product["service_capabilities"].clone()).unwrap()
}

fn line_of(error: &LoadError) -> String {
    let hint = error.hint.as_ref().map(|h| format!(" | {h}"));
    format!(
        "#! {}:{} {}{}",
        error.line,
        error.column,
        error.message,
        hint.unwrap_or_default()
    )
}

/// Each file is a source with mistakes; its last lines `#! line:column message | hint` are
/// exactly the mistakes that the loader finds. Files `model_*` load with the water meter's model.
/// `STRAIT_RENEW=1` writes what it finds: look at the change.
#[test]
fn load_errors() {
    let dir = root().join("fixtures/codec/load_errors");
    let water = profile_of(&root().join("codecs/water-meter"));
    let mut paths: Vec<PathBuf> = fs::read_dir(&dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    let mut failures = Vec::new();
    for path in paths {
        let source = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let profile = name.starts_with("model_").then_some(&water);
        let got: Vec<String> = match load(&source, profile) {
            Ok(_) => vec!["(it loads)".to_owned()],
            Err(errors) => errors.iter().map(line_of).collect(),
        };
        if std::env::var_os("STRAIT_RENEW").is_some() {
            let kept: Vec<&str> = source.lines().filter(|l| !l.starts_with("#! ")).collect();
            let text = format!("{}\n{}\n", kept.join("\n"), got.join("\n"));
            fs::write(&path, text).unwrap();
            continue;
        }
        let want: Vec<&str> = source.lines().filter(|l| l.starts_with("#! ")).collect();
        if got != want {
            failures.push(format!(
                "{name}\ngot\n{}\nwant\n{}",
                got.join("\n"),
                want.join("\n")
            ));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n\n"));
}
