//! Lines of `docs/security.md`: each threat has a test that exists, and settings that exist.
//!
//! ```text
//! | threat | what Strait does | setting | test |
//! `a::b::name`         a test of the library: src/a/b.rs, src/a/b/mod.rs, or inline in src/a.rs
//! `it a::name`         of the binary under tests/it; so `sim`; `tidy name` of tests/tidy.rs
//! `tests/faults/x.py`  a script, with arguments or without
//! ```

use toml::Table;

use crate::tree::Tree;

/// What is wrong with the lines.
pub(crate) fn unproven(tree: &Tree, page: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut lines = 0;
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, threat, _, settings, tests, _] = cells[..] else {
            wrong.push(format!("not four cells: {line}"));
            continue;
        };
        if threat == "threat" {
            continue;
        }
        lines += 1;
        if quoted(tests).next().is_none() {
            wrong.push(format!("{threat}: names no test"));
        }
        let missing = quoted(tests).filter(|name| !is_there(tree, name));
        wrong.extend(missing.map(|name| format!("{threat}: there is no test {name}")));
        let unknown = quoted(settings).filter(|name| !is_setting(tree, name));
        wrong.extend(unknown.map(|name| format!("{threat}: there is no setting {name}")));
    }
    if lines == 0 {
        wrong.push("no threat is named".to_owned());
    }
    wrong
}

/// What stands between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// `section.key` of the template, or `[section]`.
fn is_setting(tree: &Tree, name: &str) -> bool {
    let template = tree.files.get("src/config.toml");
    let template: Table = template.map_or_else(Table::new, |text| text.parse().unwrap());
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    match bare.split_once('.') {
        Some((section, key)) => template.get(section).is_some_and(|s| s.get(key).is_some()),
        None => template.contains_key(bare),
    }
}

fn is_there(tree: &Tree, name: &str) -> bool {
    if name.starts_with("tests/") {
        let script = name.split(' ').next().unwrap_or_default();
        return tree.files.contains_key(script);
    }
    let (root, path) = match name.split_once(' ') {
        None => ("src".to_owned(), name),
        Some((binary, path)) => (format!("tests/{binary}"), path),
    };
    let mut modules: Vec<_> = path.split("::").collect();
    let test = modules.pop().unwrap_or_default();
    // From the innermost module outwards: the inner ones may lie in the outer one's file.
    loop {
        let mut place = root.clone();
        for module in &modules {
            place.push('/');
            place.push_str(module);
        }
        let file = [format!("{place}.rs"), format!("{place}/mod.rs")];
        let text = file.iter().find_map(|file| tree.files.get(file));
        if let Some(text) = text {
            return has_test(text, test);
        }
        if modules.pop().is_none() {
            return false;
        }
    }
}

/// A function marked as a test, or a case of the store's contract, which each engine runs.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let is_fn = |line: &str| {
        let found = line.split_once("fn ").map(|(_, rest)| rest);
        let rest = found.and_then(|rest| rest.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with(['(', '<']))
    };
    let is_marked = |at: usize| {
        let above = lines.iter().take(at).rev();
        let mut marks = above.take_while(|line| line.starts_with("#[") || line.starts_with("//"));
        marks.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    };
    let in_contract = || {
        let cases = text.split_once("contract!(").map(|(_, rest)| rest);
        let cases = cases.and_then(|rest| rest.split_once(");"));
        cases.is_some_and(|(cases, _)| cases.split(',').any(|case| case.trim() == name))
    };
    let marked = |(at, line): (usize, &&str)| is_fn(line) && is_marked(at);
    lines.iter().enumerate().any(marked) || in_contract()
}

fn read(path: &str) -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(root.join(path)).unwrap()
}

#[test]
fn unsafe_code_is_forbidden() {
    let manifest: Table = read("Cargo.toml").parse().unwrap();
    let lint = &manifest["lints"]["rust"]["unsafe_code"];
    assert_eq!(lint.as_str(), Some("forbid"));
    for (path, text) in Tree::read().rust() {
        let excused = ["allow(", "expect("].map(|word| format!("{word}unsafe_code"));
        assert!(!excused.iter().any(|e| text.contains(e)), "{path}");
    }
}

/// What is built from is what was tested: each package has its hash, and nothing newer is taken.
#[test]
fn builds_are_locked() {
    let lock: Table = read("Cargo.lock").parse().unwrap();
    for package in lock["package"].as_array().unwrap() {
        let registry = "registry+https://github.com/rust-lang/crates.io-index";
        let source = package.get("source").and_then(toml::Value::as_str);
        match source {
            None => assert_eq!(package["name"].as_str(), Some("strait")),
            Some(source) => assert_eq!(source, registry, "{package}"),
        }
        assert_eq!(source.is_some(), package.get("checksum").is_some());
    }
    for path in ["deploy/Containerfile", "docs/operations.md"] {
        let text = read(path);
        let builds = text.lines().filter(|l| l.contains("cargo build --release"));
        let builds: Vec<_> = builds.collect();
        assert!(!builds.is_empty(), "{path}");
        assert!(
            builds.iter().all(|l| l.contains("--locked")),
            "{path}: {builds:?}"
        );
    }
}

#[test]
fn every_threat_has_a_test() {
    let wrong = unproven(&Tree::read(), include_str!("../../docs/security.md"));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn lines_without_a_test_are_found() {
    let tree = Tree::of(&[
        ("src/config.toml", "[http]\nidle_s = 15"),
        (
            "src/a/odd.rs",
            "mod tests {\n    #[test]\n    fn it_is_odd() {}\n}",
        ),
        (
            "tests/it/odd/mod.rs",
            "#[tokio::test]\n/// Why.\nasync fn it_is_odd() {}\nfn helper() {}",
        ),
        (
            "tests/it/store/mod.rs",
            "contract!(\n    rows_lie_sealed,\n    others,\n);",
        ),
        ("tests/tidy.rs", "#[test]\nfn files_are_short() {}"),
        ("tests/faults/kill.py", ""),
    ]);
    let cases = [
        ("| t | d | | `a::odd::tests::it_is_odd` |", 0),
        (
            "| t | d | `http.idle_s`, `[http]` | `it odd::it_is_odd` |",
            0,
        ),
        (
            "| t | d | | `it store::memory::rows_lie_sealed`, `tidy files_are_short` |",
            0,
        ),
        ("| t | d | | `tests/faults/kill.py --rounds 3` |", 0),
        ("| t | d | | `a::even::tests::it_is_odd` |", 1),
        ("| t | d | | `a::odd::tests::it_is` |", 1),
        (
            "| t | d | | `it odd::helper`, `it store::memory::rows` |",
            2,
        ),
        ("| t | d | | `tests/faults/killed.py` |", 1),
        ("| t | d | `http.idle` | `it odd::it_is_odd` |", 1),
        ("| t | d | | it odd::it_is_odd |", 1),
        ("| t | d | `it odd::it_is_odd` |", 2),
        ("| t | d | | |", 1),
        ("no table", 1),
    ];
    for (line, want) in cases {
        let wrong = unproven(&tree, line);
        assert_eq!(wrong.len(), want, "{line}: {wrong:?}");
    }
}
