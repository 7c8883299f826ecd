//! The guide for authors of codecs is true: every command of `docs/codecs.md` runs as it stands
//! there, in the order of the page, and shows what the page shows.
//!
//! A block of code with a path behind its language is a file. A `console` block has commands behind
//! `$ `, each followed by what it prints, or nothing where that is long or never the same.
//! `# exit code N` says how it ends, else it ends well. Times are not compared. Blocks marked
//! `console wasm` run where the program was built with WebAssembly.

use std::fs;
use std::path::Path;
use std::process::Command;

use strait::product::codec::fixture;

use crate::codecs::samples;

/// A fenced block: what stands behind the fence, and the lines in it.
struct Block<'a> {
    info: &'a str,
    line: usize,
    lines: Vec<&'a str>,
}

/// One command of a `console` block, with what it prints.
struct Shown<'a> {
    line: usize,
    command: &'a str,
    output: Vec<&'a str>,
}

fn blocks_of(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut open: Option<Block<'_>> = None;
    for (text, line) in page.lines().zip(1..) {
        match (text.strip_prefix("```"), open.take()) {
            (Some(""), Some(block)) => blocks.push(block),
            (Some(info), None) => {
                open = Some(Block {
                    info,
                    line,
                    lines: Vec::new(),
                });
            }
            (_, Some(mut block)) => {
                block.lines.push(text);
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block without an end");
    blocks
}

fn shown_in<'a>(block: &Block<'a>) -> Vec<Shown<'a>> {
    let mut all: Vec<Shown<'a>> = Vec::new();
    for (text, line) in block.lines.iter().zip(block.line + 1..) {
        match (text.strip_prefix("$ "), all.last_mut()) {
            (Some(command), _) => all.push(Shown {
                line,
                command,
                output: Vec::new(),
            }),
            (None, Some(last)) => last.output.push(text),
            (None, None) => panic!("line {line}: output before a command"),
        }
    }
    all
}

/// A line without its times, and without the memory that stands behind one.
fn masked(line: &str) -> String {
    const UNITS: [&str; 4] = ["ns", "µs", "ms", "s"];
    let line = match line.rsplit_once(", ") {
        Some((start, end)) if end.ends_with(" KiB") => start,
        _ => line,
    };
    let words: Vec<&str> = line.split_whitespace().collect();
    let is_unit = |at: usize| words.get(at).is_some_and(|unit| UNITS.contains(unit));
    let is_number = |word: &str| word.bytes().all(|b| b.is_ascii_digit());
    let is_time = |at: usize| words.get(at).is_some_and(|w| is_number(w)) && is_unit(at + 1);
    if !(0..words.len()).any(is_time) {
        return line.trim_end().to_owned();
    }
    // The unit goes too: what takes microseconds here takes milliseconds elsewhere.
    let kept =
        (0..words.len()).filter(|at| !is_time(*at) && !at.checked_sub(1).is_some_and(is_time));
    let kept: Vec<&str> = kept.filter_map(|at| words.get(at).copied()).collect();
    kept.join(" ")
}

/// What the command prints on both streams, and its exit code.
fn run(dir: &Path, command: &str) -> (String, i32) {
    let program = Path::new(env!("CARGO_BIN_EXE_strait"));
    let mut path = program.parent().unwrap().as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1; {command}")])
        .current_dir(dir)
        .env("PATH", path)
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (text, output.status.code().unwrap())
}

fn judge(dir: &Path, shown: &Shown<'_>) -> Option<String> {
    let place = format!("line {}: {}", shown.line, shown.command);
    let wanted = shown.command.rsplit_once("# exit code ");
    let wanted: i32 = wanted.map_or(0, |(_, code)| code.trim().parse().unwrap());
    let (text, code) = run(dir, shown.command);
    if code != wanted {
        return Some(format!("{place}\nexit code {code}, not {wanted}:\n{text}"));
    }
    // A page may leave out what is long.
    if shown.output.is_empty() {
        return None;
    }
    let page: Vec<String> = shown.output.iter().map(|l| masked(l)).collect();
    let real: Vec<String> = text.lines().map(masked).collect();
    (page != real).then(|| format!("{place}\nprints, not what is shown:\n{text}"))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// Runs the page's blocks of this kind, in order; the number of their commands.
fn run_all(wanted: &str) -> usize {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/codecs.md");
    let page = fs::read_to_string(page).unwrap();
    let dir = tempfile::tempdir().unwrap();
    copy(&samples(), &dir.path().join("codecs"));
    let (mut failures, mut count) = (Vec::new(), 0);
    for block in blocks_of(&page) {
        let rest = block.info.split_once(' ').map_or("", |(_, rest)| rest);
        if rest.contains('/') {
            let path = dir.path().join(rest);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, block.lines.join("\n") + "\n").unwrap();
        } else if block.info == wanted {
            for shown in shown_in(&block) {
                count += 1;
                failures.extend(judge(dir.path(), &shown));
            }
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    count
}

#[test]
fn every_command_of_the_guide_does_what_it_shows() {
    let count = run_all("console");
    assert!(count >= 30, "the page has {count} commands");
}

#[test]
#[cfg(feature = "wasm")]
fn every_command_with_wasm_does_what_it_shows() {
    assert_eq!(run_all("console wasm"), 5);
}

#[test]
fn there_are_scripts_of_every_contract_with_fixtures() {
    let mut count = 0;
    for contract in ["ts013", "decoder", "iotda", "offline"] {
        for folder in fs::read_dir(samples().join("scripts").join(contract)).unwrap() {
            let folder = folder.unwrap().path();
            assert!(folder.join("codec.js").is_file(), "{}", folder.display());
            let fixtures = fs::read_to_string(folder.join("fixtures/examples.json")).unwrap();
            let fixtures = fixture::parse(&fixtures).unwrap();
            assert!(fixtures.len() >= 3, "{}", folder.display());
            count += 1;
        }
    }
    assert!(count >= 40, "{count} scripts");
}
