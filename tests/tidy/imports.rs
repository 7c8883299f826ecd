//! The paths of a source file that lead into this crate, whether in `use`, in code or in the tokens
//! of a macro, resolved from the crate's root.

use std::collections::BTreeSet;

use syn::visit::Visit;

/// Collects paths that lead into this crate, relative ones resolved, from the crate's root.
pub(crate) struct Imports {
    with_tests: bool,
    module: Vec<String>,
    found: BTreeSet<Vec<String>>,
}

impl Imports {
    pub(crate) fn of(module: &[&str], text: &str) -> BTreeSet<Vec<String>> {
        Self::collect(module, text, true)
    }

    /// Leaves out modules under `#[cfg(test)]`: tests look across, and nobody imports them.
    pub(crate) fn without_tests(module: &[&str], text: &str) -> BTreeSet<Vec<String>> {
        Self::collect(module, text, false)
    }

    fn collect(module: &[&str], text: &str, with_tests: bool) -> BTreeSet<Vec<String>> {
        let file = syn::parse_file(text).unwrap_or_else(|e| panic!("{module:?}: {e}"));
        let inner = module.iter().filter(|m| **m != "lib");
        let mut imports = Self {
            with_tests,
            module: inner.map(|m| (*m).to_owned()).collect(),
            found: BTreeSet::new(),
        };
        imports.visit_file(&file);
        imports.found
    }

    fn add(&mut self, path: &[String]) {
        let mut at = match path.first().map(String::as_str) {
            Some("crate") => Vec::new(),
            Some("self" | "super") => self.module.clone(),
            _ => return,
        };
        let mut rest = path;
        while let Some((head, tail)) = rest.split_first() {
            match head.as_str() {
                "crate" | "self" => {}
                "super" => drop(at.pop()),
                _ => break,
            }
            rest = tail;
        }
        at.extend_from_slice(rest);
        self.found.insert(at);
    }

    fn add_tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.add_tree(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.add(&with(&name.ident)),
            syn::UseTree::Rename(name) => self.add(&with(&name.ident)),
            syn::UseTree::Glob(_) => self.add(before),
            syn::UseTree::Group(group) => {
                group
                    .items
                    .iter()
                    .for_each(|item| self.add_tree(before, item));
            }
        }
    }
}

impl<'ast> Visit<'ast> for Imports {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add_tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        self.add(&segments);
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        // What a macro gets is no syntax tree; its paths read "crate :: x :: y".
        let text = call.tokens.to_string();
        for (at, _) in text.match_indices("crate :: ") {
            let words = text[at..]
                .split(" :: ")
                .map(|w| w.split(' ').next().unwrap().to_owned());
            self.add(&words.take(4).collect::<Vec<_>>());
        }
        syn::visit::visit_macro(self, call);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let is_test = |a: &syn::Attribute| {
            matches!(&a.meta, syn::Meta::List(list) if list.path.is_ident("cfg")
                && list.tokens.to_string() == "test")
        };
        if !self.with_tests && item.attrs.iter().any(is_test) {
            return;
        }
        self.module.push(item.ident.to_string());
        syn::visit::visit_item_mod(self, item);
        self.module.pop();
    }
}
