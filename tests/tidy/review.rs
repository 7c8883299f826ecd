//! Tests that a document names as proof are there: a renamed one must be renamed in the document.
//!
//! ```text
//! `dtls::tests::hazards::some_name`   a function some_name in a file with dtls and hazards in its path;
//!                                     D stands for dtls::tests, `it ` and `sim ` name the binary
//! `dtls.sh one two`                   scenes of tests/interop/dtls_clients.py
//! ```

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
