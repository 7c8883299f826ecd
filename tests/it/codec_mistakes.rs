//! What `strait codec check` says to mistakes: a codec folder for each, and snapshots of the
//! messages to read as a newcomer would.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::codecs::codec;

const MISTAKES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/codec-mistakes");

/// Every folder of a family with what is said about it. Each is refused, with the exit code of an
/// invalid codec, and every message has its file; those of sources have line and column too.
fn said(family: &Path) -> String {
    let mut names: Vec<String> = fs::read_dir(family)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(!names.is_empty());
    let mut all = String::new();
    for name in names {
        let (code, out, err) = codec(family, &["check", &name]);
        assert_eq!((code, err.as_str()), (2, ""), "{name}: {out}");
        let mistakes = out.lines().filter(|line| {
            ["/", ":"]
                .iter()
                .any(|c| line.starts_with(&format!("{name}{c}")))
        });
        let mut count = 0;
        for mistake in mistakes {
            count += 1;
            let place = mistake.split(' ').next().unwrap();
            let numbers = place
                .split(':')
                .filter(|n| n.parse::<u32>().is_ok())
                .count();
            // Too long a source is not read.
            let is_source = ["codec.toml", "codec.js"].iter().any(|s| place.contains(s));
            let has_place = is_source && !mistake.contains("takes up to");
            assert!(numbers == 2 || !has_place, "{mistake}");
        }
        assert!(count > 0, "{name}: {out}");
        let (said, _count) = out.trim_end().rsplit_once('\n').unwrap();
        writeln!(all, "{said}\n").unwrap();
    }
    all
}

fn family(name: &str) -> String {
    said(&PathBuf::from(MISTAKES).join(name))
}

#[test]
fn tables() {
    insta::assert_snapshot!("mistakes_in_tables", family("table"));
}

#[test]
fn tables_against_the_model() {
    insta::assert_snapshot!("mistakes_against_the_model", family("model"));
}

#[test]
fn profiles() {
    insta::assert_snapshot!("mistakes_in_profiles", family("profile"));
}

#[test]
fn fixtures() {
    insta::assert_snapshot!("mistakes_in_fixtures", family("fixtures"));
}

#[cfg(feature = "script")]
#[test]
fn scripts() {
    let mut all = family("script");
    // One that is too long to be kept.
    let dir = tempfile::tempdir().unwrap();
    let long = format!(
        "// {}\nfunction decodeUplink() {{}}\n",
        "x".repeat(256 * 1024)
    );
    fs::create_dir(dir.path().join("over-256-kb")).unwrap();
    fs::write(dir.path().join("over-256-kb/codec.js"), long).unwrap();
    all += &said(dir.path());
    insta::assert_snapshot!("mistakes_in_scripts", all);
}

#[cfg(feature = "script")]
#[test]
fn folders() {
    insta::assert_snapshot!("mistakes_in_folders", family("folder"));
}

/// Mistakes that take many lines are made here.
#[test]
fn tables_over_limits() {
    let dir = tempfile::tempdir().unwrap();
    let message = |fields: &str| {
        format!("[[message]]\ndir = \"up\"\nservice = \"Tank\"\nfields = [\n{fields}]\n")
    };
    let times = |count: usize, of: &dyn Fn(usize) -> String| (0..count).map(of).collect::<String>();
    let many = [
        (
            "cases",
            message(&format!(
                "{{ t = \"tlv\", tag = \"u16\", len = \"u8\", cases = {{ {} }} }}",
                times(129, &|n| format!("{n} = {{ n = \"f{n}\", t = \"u8\" }}, "))
            )),
        ),
        (
            "enum-names",
            message(&format!(
                "{{ n = \"a\", t = \"u16\", enum = [{}] }}",
                times(1025, &|n| format!("\"c{n}\", "))
            )),
        ),
        (
            "fields",
            message(&times(513, &|n| {
                format!("{{ n = \"f{n}\", t = \"u8\" }},\n")
            })),
        ),
        (
            "lengths-by-name",
            message(&times(17, &|n| {
                format!(
                    "{{ n = \"n{n}\", t = \"u8\" }}, {{ n = \"f{n}\", t = \"ascii\", len = \"n{n}\" }},\n"
                )
            })),
        ),
        (
            "messages",
            "codec = { id = { type = \"u16\" } }\n".to_owned()
                + &times(1025, &|n| format!("[[message]]\nid = {n}\ndir = \"up\"\n")),
        ),
        (
            "mistakes",
            message(&times(201, &|_| "{ n = \"a\", t = \"u9\" },\n".to_owned()))
                + &message(&times(201, &|_| "{ n = \"a\", t = \"u9\" },\n".to_owned())),
        ),
        (
            "name",
            message(&format!("{{ n = \"{}\", t = \"u8\" }},\n", "n".repeat(129))),
        ),
        ("source", "# padding\n".repeat(30_000)),
    ];
    for (name, source) in many {
        fs::create_dir(dir.path().join(name)).unwrap();
        fs::write(dir.path().join(name).join("codec.toml"), source).unwrap();
    }
    let all = said(dir.path());
    // Two hundred times the same is nothing to read.
    let repeated = "unknown type \"u9\"\n  hint: did you mean \"u8\"?\n";
    assert_eq!(all.matches(repeated).count(), 200);
    let kept: Vec<&str> = all
        .split_inclusive('\n')
        .filter(|line| !line.contains("\"u9\"") && !line.contains("did you mean \"u8\""))
        .collect();
    insta::assert_snapshot!("mistakes_over_limits", kept.concat());
}
