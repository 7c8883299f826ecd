//! The repository's files, as the rules see them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Text files by path from the repository's root, and the names at its top.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) files: BTreeMap<String, String>,
    pub(crate) top: BTreeSet<String>,
}

impl Tree {
    pub(crate) fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut tree = Self::default();
        for entry in fs::read_dir(root).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            tree.top.insert(name);
        }
        for folder in ["src", "tests", "benches", "fixtures"] {
            if root.join(folder).is_dir() {
                tree.read_folder(root, folder);
            }
        }
        assert!(
            tree.files.contains_key("src/lib.rs"),
            "not the repository's root"
        );
        tree
    }

    fn read_folder(&mut self, root: &Path, folder: &str) {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = format!("{folder}/{name}");
            if name == "__pycache__" {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                self.read_folder(root, &path);
            } else {
                let bytes = fs::read(entry.path()).unwrap();
                self.files
                    .insert(path, String::from_utf8_lossy(&bytes).into_owned());
            }
        }
    }

    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let files = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        Self {
            files: files.collect(),
            top: BTreeSet::new(),
        }
    }

    pub(crate) fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        let files = self
            .files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()));
        files.filter(|(path, _)| path.ends_with(".rs"))
    }

    /// Source files with the path of their module: `src/wire/coap/mod.rs` is `[wire, coap]`.
    pub(crate) fn modules(&self) -> impl Iterator<Item = (&str, Vec<&str>, &str)> {
        let sources = self
            .rust()
            .filter_map(|(p, t)| Some((p, p.strip_prefix("src/")?, t)));
        sources.map(|(path, inner, text)| {
            let mut module: Vec<_> = inner.trim_end_matches(".rs").split('/').collect();
            if module.len() > 1 && module.last() == Some(&"mod") {
                module.pop();
            }
            (path, module, text)
        })
    }
}
