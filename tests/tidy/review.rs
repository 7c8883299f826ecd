//! Tests that a document names as proof are there: a renamed one must be renamed in the document.
//!
//! ```text
//! `dtls::tests::hazards::some_name`   a function some_name in a file with dtls and hazards in its path;
//!                                     D stands for dtls::tests, `it ` and `sim ` name the binary
//! `dtls.sh one two`                   scenes of tests/interop/dtls_clients.py
//! ```
//! And commands that documents name run something.

use crate::tree::Tree;

/// Names that lead nowhere, and a document that names no test at all.
pub(crate) fn missing_proofs(tree: &Tree, document: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut count = 0;
    // Between backticks is every second piece.
    for quoted in document.split('`').skip(1).step_by(2) {
        if let Some(scenes) = quoted.strip_prefix("dtls.sh ") {
            let text = tree.files.get("tests/interop/dtls_clients.py");
            for scene in scenes.split(' ').filter(|scene| *scene != "NAME") {
                let line = format!("\"{scene}\"");
                if !text.is_some_and(|text| text.contains(&line)) {
                    wrong.push(format!("there is no scene {scene}"));
                }
            }
        } else if let Some((path, name)) = test_path(quoted) {
            count += 1;
            if !tree
                .rust()
                .any(|(file, text)| holds(file, text, path, name))
            {
                wrong.push(format!("there is no test {quoted}"));
            }
        }
    }
    if count == 0 {
        wrong.push("no test is named".to_owned());
    }
    wrong
}

/// A path to a test and its name: names of tests are sentences, so they have underscores.
fn test_path(quoted: &str) -> Option<(&str, &str)> {
    let path = quoted.trim_start_matches("it ").trim_start_matches("sim ");
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let (modules, name) = path.rsplit_once("::")?;
    (path.chars().all(is_path) && name.contains('_')).then_some((modules, name))
}

fn holds(file: &str, text: &str, modules: &str, name: &str) -> bool {
    let mut parts = file.trim_end_matches(".rs").split('/');
    let inline = ["tests", "D"];
    let lies_there = modules
        .split("::")
        .filter(|module| !inline.contains(module))
        .all(|module| parts.any(|part| part == module));
    let is_there = |end| text.contains(&format!("fn {name}{end}"));
    lies_there && (is_there('(') || is_there('<'))
}

/// Commands between backticks that would run nothing: `cargo test --test BINARY FILTER` without a test,
/// and scripts under `tests/` that are not there.
pub(crate) fn idle_commands(tree: &Tree, document: &str) -> Vec<String> {
    let quoted = document.split('`').skip(1).step_by(2);
    let idle = quoted.filter(|command| {
        let words: Vec<_> = command.split_whitespace().collect();
        if let ["cargo", "test", "--test", binary, filter] = words[..] {
            return !tree
                .rust()
                .any(|(file, text)| is_chosen(file, text, binary, filter));
        }
        let mut paths = words.iter().filter(|word| word.starts_with("tests/"));
        paths.any(|path| path.contains('.') && !tree.files.contains_key(*path))
    });
    idle.map(|command| format!("{command} runs nothing"))
        .collect()
}

/// Each part of the filter is of the file's path, the last may be a test's name. A filter may end in the
/// middle of a name.
fn is_chosen(file: &str, text: &str, binary: &str, filter: &str) -> bool {
    let Some(inner) = file.strip_prefix(&format!("tests/{binary}/")) else {
        return false;
    };
    let module = inner.trim_end_matches(".rs").trim_end_matches("/mod");
    let path = format!("{}::", module.replace('/', "::"));
    let tests = text.split("fn ").skip(1);
    let names = tests.filter_map(|rest| rest.split(['(', '<']).next());
    let mut full = names.map(|name| format!("{path}{name}"));
    let has_tests = text.contains("#[test]") || text.contains("#[tokio::test");
    has_tests && full.any(|full| full.contains(filter))
}

/// Whoever reads a claim can run what shows it.
#[test]
fn commands_of_the_documents_run_something() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = std::fs::read_dir(root.join("docs")).unwrap();
    let pages = pages.map(|entry| entry.unwrap().path());
    let tree = Tree::read();
    let mut wrong = Vec::new();
    for page in pages.chain([root.join("README.md")]) {
        if page.extension().is_some_and(|e| e == "md") {
            let text = std::fs::read_to_string(&page).unwrap();
            let idle = idle_commands(&tree, &text).into_iter();
            wrong.extend(idle.map(|command| format!("{}: {command}", page.display())));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn idle_commands_are_found() {
    let tree = Tree::of(&[
        ("tests/it/odd/mod.rs", "#[test]\nfn it_is_odd() {}"),
        ("tests/it/even.rs", "fn no_test() {}"),
        ("tests/faults/kill.py", ""),
    ]);
    let cases = [
        ("`cargo test --test it odd`", 0),
        ("`cargo test --test it odd::it_is`", 0),
        ("`cargo test --test it even`", 1),
        ("`cargo test --test sim odd`", 1),
        ("`python3 tests/faults/kill.py --rounds 3`, `cargo test`", 0),
        ("`tests/faults/killed.py`", 1),
    ];
    for (document, want) in cases {
        let wrong = idle_commands(&tree, document);
        assert_eq!(wrong.len(), want, "{document}: {wrong:?}");
    }
}
