//! `strait codec new --kind wasm`: the sample in Rust with its source, which builds as it is.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::begin;
use crate::cli::codec::PASS;

/// Places of the sample's files, and what is in them.
macro_rules! sample {
    ($($path:literal),+ $(,)?) => {
        &[$(($path, include_bytes!(concat!(
            "../../../../codecs/water-meter-wasm/",
            $path
        )))),+]
    };
}

const FILES: &[(&str, &[u8])] = sample![
    "codec.wasm",
    "profile.json",
    "fixtures/commands.json",
    "fixtures/errors.json",
    "fixtures/profile.json",
    "fixtures/report.json",
    "source/.gitignore",
    "source/Cargo.lock",
    "source/Cargo.toml",
    "source/README.md",
    "source/build.sh",
    "source/codec.wit",
    "source/src/frame.rs",
    "source/src/lib.rs",
];

pub(super) fn run(out: &mut impl Write, dir: &Path) -> io::Result<u8> {
    let name = match begin(dir) {
        Ok(name) => name,
        Err(code) => return Ok(code),
    };
    for folder in ["fixtures", "source/src"] {
        fs::create_dir_all(dir.join(folder))?;
    }
    for (file, bytes) in FILES {
        let path = dir.join(file);
        match std::str::from_utf8(bytes) {
            Ok(text) if *file == "profile.json" => {
                let own = format!("\"product_id\": \"{name}\"");
                fs::write(
                    &path,
                    text.replacen("\"product_id\": \"water-meter-wasm\"", &own, 1),
                )?;
            }
            _ => fs::write(&path, bytes)?,
        }
        writeln!(out, "{}", path.display())?;
    }
    writeln!(out, "now: strait codec test {}", dir.display())?;
    writeln!(out, "after a change: sh {}/source/build.sh", dir.display())?;
    Ok(PASS)
}
