//! The house rules that a compiler does not see: which layer imports which, no cycles between
//! siblings, module docs, file lengths, no glob re-exports, every fixture used and its origin told,
//! nothing but the known at the top level, and every test that `docs/dtls.md` and
//! `docs/security.md` name is there.
//!
//! Each rule is a function over a [`Tree`] of files, so that the rules themselves are tested on
//! small trees that break them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test crate: a panic is a failed test"
)]

#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/review.rs"]
mod review;
#[path = "tidy/security.rs"]
mod security;
#[path = "tidy/tree.rs"]
mod tree;

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::Visit;

use imports::Imports;
use tree::Tree;

/// What each layer may import besides itself. `api` reads the store and never writes it.
const LAYERS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("wire", &["base"]),
    ("product", &["base"]),
    ("engine", &["base", "wire"]),
    ("store", &["base", "wire", "product", "engine"]),
    ("net", &["base", "wire", "engine"]),
    (
        "app",
        &["base", "wire", "product", "engine", "store", "net"],
    ),
    ("api", &["base", "product", "engine", "store", "app"]),
    ("sim", &["base"]),
];
/// May import everything; nobody imports them but each other.
const TOP: &[&str] = &["config", "telemetry", "cli", "main", "lib"];
/// What `api` must not touch of the store: its write side and its engines.
const STORE_WRITE: &[&str] = &[
    "Commit",
    "Guard",
    "Change",
    "Completion",
    "Expiry",
    "keys",
    "kv",
    "disk",
    "fjall",
    "sled",
    "memory",
    "migrate",
];
/// Macros at the crate root belong to the layer that defines them.
const ROOT_MACROS: &[(&str, &str)] = &[("bug", "base")];

const LINES_MAX: usize = 500;
const TOP_LEVEL: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "codecs",
    "deploy",
    "docs",
    "fixtures",
    "src",
    "tests",
    // Made by use, ignored by git.
    "data",
    "target",
];

/// Each layer imports only from those that its row names.
fn layers(tree: &Tree) -> Vec<String> {
    let mut wrong = BTreeSet::new();
    for (file, module, text) in tree.modules() {
        let layer = module[0];
        if TOP.contains(&layer) {
            continue;
        }
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
            wrong.insert(format!("{file}: {layer} is no layer of docs/STYLE.md"));
            continue;
        };
        for path in Imports::of(&module, text) {
            let Some(first) = path.first() else { continue };
            let root_macro = ROOT_MACROS.iter().find(|(name, _)| name == first);
            let target = root_macro.map_or(first.as_str(), |(_, layer)| layer);
            let known = TOP.contains(&target) || LAYERS.iter().any(|(name, _)| *name == target);
            let path = path.join("::");
            if known && target != layer && !allowed.contains(&target) {
                let may = if allowed.is_empty() {
                    "nothing".to_owned()
                } else {
                    allowed.join(", ")
                };
                wrong.insert(format!(
                    "{file}: uses crate::{path}; {layer} may import {may}"
                ));
            }
        }
        if layer != "api" {
            continue;
        }
        // Its tests prepare a store to read.
        for path in Imports::without_tests(&module, text) {
            let [target, part, ..] = &path[..] else {
                continue;
            };
            if target == "store" && STORE_WRITE.contains(&part.as_str()) {
                wrong.insert(format!(
                    "{file}: uses crate::store::{part}; api only reads the store"
                ));
            }
        }
    }
    wrong.into_iter().collect()
}

/// Within a layer, siblings form no cycles. The layer's own `mod.rs` is no sibling.
fn cycles(tree: &Tree) -> Vec<String> {
    let mut edges: BTreeMap<(&str, &str), BTreeSet<String>> = BTreeMap::new();
    let modules: Vec<_> = tree.modules().collect();
    for (_, module, _) in &modules {
        if let [layer, sibling, ..] = module[..] {
            edges.entry((layer, sibling)).or_default();
        }
    }
    for (file, module, text) in &modules {
        let [layer, sibling, ..] = module[..] else {
            continue;
        };
        // Tests look across: they belong to nobody's public face.
        if file.ends_with("/tests.rs") || file.contains("/tests/") {
            continue;
        }
        for path in Imports::without_tests(module, text) {
            let Some([to_layer, to]) = path.get(..2) else {
                continue;
            };
            if to_layer == layer && to != sibling && edges.contains_key(&(layer, to.as_str())) {
                edges
                    .entry((layer, sibling))
                    .or_default()
                    .insert(to.clone());
            }
        }
    }
    // Who leads nowhere is in no cycle, nor is whom nobody leads to: what is left at last is.
    loop {
        let reached: BTreeSet<_> = edges
            .iter()
            .flat_map(|((layer, _), to)| to.iter().map(|to| ((*layer).to_owned(), to.clone())))
            .collect();
        let before = edges.len();
        edges.retain(|(layer, sibling), to| {
            !to.is_empty() && reached.contains(&((*layer).to_owned(), (*sibling).to_owned()))
        });
        let rest: BTreeSet<_> = edges
            .keys()
            .map(|(layer, sibling)| ((*layer).to_owned(), (*sibling).to_owned()))
            .collect();
        for ((layer, _), to) in &mut edges {
            to.retain(|to| rest.contains(&((*layer).to_owned(), to.clone())));
        }
        if edges.len() == before {
            break;
        }
    }
    let lines = edges.iter().map(|((layer, from), to)| {
        let to: Vec<_> = to.iter().map(String::as_str).collect();
        format!(
            "src/{layer}: {from} imports {}, which leads back to it",
            to.join(", ")
        )
    });
    lines.collect()
}

fn module_docs(tree: &Tree) -> Vec<String> {
    let bare = tree
        .rust()
        .filter(|(_, text)| !text.trim_start().starts_with("//!"));
    bare.filter(|(path, _)| !path.ends_with("/tests.rs"))
        .map(|(path, _)| format!("{path}: does not open with a //! doc"))
        .collect()
}

fn lengths(tree: &Tree) -> Vec<String> {
    let counted = tree.rust().map(|(path, text)| (path, text.lines().count()));
    counted
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| {
            format!("{path}: {lines} lines, at most {LINES_MAX}: split by meaning")
        })
        .collect()
}

/// `pub use x::*` hides where a name comes from.
fn glob_re_exports(tree: &Tree) -> Vec<String> {
    struct Globs(bool);
    impl<'ast> Visit<'ast> for Globs {
        fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
            fn any(tree: &syn::UseTree) -> bool {
                match tree {
                    syn::UseTree::Glob(_) => true,
                    syn::UseTree::Path(path) => any(&path.tree),
                    syn::UseTree::Group(group) => group.items.iter().any(any),
                    syn::UseTree::Name(_) | syn::UseTree::Rename(_) => false,
                }
            }
            self.0 |= !matches!(item.vis, syn::Visibility::Inherited) && any(&item.tree);
        }
    }
    let mut wrong = Vec::new();
    for (path, text) in tree.rust() {
        let mut globs = Globs(false);
        globs.visit_file(&syn::parse_file(text).unwrap_or_else(|e| panic!("{path}: {e}")));
        if globs.0 {
            wrong.push(format!("{path}: re-exports with *; name what goes out"));
        }
    }
    wrong
}

/// A fixture is named, or its folder is, in some test, bench, source or script; and its origin is
/// told under the same name in `fixtures/README.md`.
fn fixtures(tree: &Tree) -> Vec<String> {
    const README: &str = "fixtures/README.md";
    let users: Vec<_> = tree
        .files
        .iter()
        .filter(|(path, _)| !path.starts_with("fixtures/"))
        .collect();
    let origins = tree.files.get(README).map_or("", String::as_str);
    let mut wrong = Vec::new();
    for path in tree
        .files
        .keys()
        .filter(|p| p.starts_with("fixtures/") && *p != README)
    {
        let (folder, name) = path.rsplit_once('/').unwrap();
        // The name of the file, or of a folder above it: `x/`, `x/y/`.
        let above = folder.match_indices('/').map(|(at, _)| at).skip(1);
        let folders = above
            .chain([folder.len()])
            .filter_map(|end| folder.get(9..end));
        let folders: Vec<_> = folders.map(|f| format!("{f}/")).collect();
        let named = |text: &str| text.contains(name) || folders.iter().any(|f| text.contains(f));
        if !users
            .iter()
            .any(|(_, text)| text.contains(name) || text.contains(folder))
        {
            wrong.push(format!("{path}: no test, bench, source or script names it"));
        }
        if !named(origins) {
            wrong.push(format!("{path}: {README} does not tell its origin"));
        }
    }
    wrong
}

fn top_level(tree: &Tree) -> Vec<String> {
    let unknown = tree
        .top
        .iter()
        .filter(|n| !n.starts_with('.') && !TOP_LEVEL.contains(&n.as_str()));
    unknown
        .map(|name| format!("{name}: does not belong at the top level"))
        .collect()
}

fn assert_clean(rule: fn(&Tree) -> Vec<String>) {
    let wrong = rule(&Tree::read());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn layers_import_downwards() {
    assert_clean(layers);
}

#[test]
fn siblings_form_no_cycles() {
    assert_clean(cycles);
}

#[test]
fn modules_open_with_docs() {
    assert_clean(module_docs);
}

#[test]
fn files_are_short() {
    assert_clean(lengths);
}

#[test]
fn nothing_is_re_exported_by_glob() {
    assert_clean(glob_re_exports);
}

#[test]
fn fixtures_are_used_and_their_origin_is_told() {
    assert_clean(fixtures);
}

#[test]
fn the_top_level_holds_what_it_must() {
    assert_clean(top_level);
}

#[test]
fn the_tests_that_prove_dtls_are_there() {
    let wrong = review::missing_proofs(&Tree::read(), include_str!("../docs/dtls.md"));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Each of a document's names leads to a test, or is found out.
#[test]
fn missing_proofs_are_found() {
    let tree = Tree::of(&[
        ("src/a/dtls/tests/odd.rs", "fn it_is_odd() {}"),
        ("tests/interop/dtls_clients.py", "{\"spoofed\": spoofed}"),
    ]);
    let cases = [
        ("`D::odd::it_is_odd` `it dtls::tests::odd::it_is_odd`", 0),
        ("`D::odd::it_is_od`", 1),
        ("`D::even::it_is_odd`", 1),
        ("`D::odd::it_is_odd`, `dtls.sh spoofed forged`", 1),
        ("`engine::dtls` names none", 1),
    ];
    for (document, want) in cases {
        let wrong = review::missing_proofs(&tree, document);
        assert_eq!(wrong.len(), want, "{document}: {wrong:?}");
    }
}

type Rule = fn(&Tree) -> Vec<String>;
/// A rule, files that break it, and how often.
type Case = (Rule, &'static [(&'static str, &'static str)], usize);

/// Each rule finds what breaks it, and only that.
#[test]
fn rules_can_fail() {
    let cases: &[Case] = &[
        (layers, &[("src/wire/a.rs", "use crate::base::ids;")], 0),
        (
            layers,
            &[("src/wire/a.rs", "use crate::{base::ids, net::udp};")],
            1,
        ),
        (
            layers,
            &[("src/wire/a.rs", "fn f() { crate::app::run() }")],
            1,
        ),
        (
            layers,
            &[("src/wire/coap/a.rs", "use super::super::super::net::x;")],
            1,
        ),
        (
            layers,
            &[(
                "src/wire/coap/mod.rs",
                "use super::lwm2m::x; mod t { use super::y; }",
            )],
            0,
        ),
        (
            layers,
            &[(
                "src/base/a.rs",
                "fn f() { println!(\"{}\", crate::wire::x()) }",
            )],
            1,
        ),
        (
            layers,
            &[("src/wire/a.rs", "fn f() { crate::bug!(\"x\") }")],
            0,
        ),
        (layers, &[("src/engine/a.rs", "use crate::cli::run;")], 1),
        (
            layers,
            &[("src/api/a.rs", "use crate::store::{Store, Commit};")],
            1,
        ),
        (layers, &[("src/other/a.rs", "")], 1),
        (layers, &[("src/cli/a.rs", "use crate::net::x;")], 0),
        (
            cycles,
            &[
                ("src/net/a.rs", "use super::b::X;"),
                ("src/net/b.rs", "use crate::net::a::Y;"),
            ],
            2,
        ),
        (
            cycles,
            &[
                ("src/net/a.rs", "use super::b::X;"),
                ("src/net/b.rs", "use super::Own;"),
            ],
            0,
        ),
        (
            cycles,
            &[
                (
                    "src/net/a.rs",
                    "#[cfg(test)] mod tests { use crate::net::b::X; }",
                ),
                ("src/net/b.rs", "use crate::net::a::Y;"),
            ],
            0,
        ),
        (module_docs, &[("src/a.rs", "//! What it is.\n")], 0),
        (module_docs, &[("src/a.rs", "use x;\n")], 1),
        (
            glob_re_exports,
            &[("src/a.rs", "use super::*; pub use a::B;")],
            0,
        ),
        (
            glob_re_exports,
            &[("src/a.rs", "pub(crate) use a::{b, c::*};")],
            1,
        ),
        (
            fixtures,
            &[("fixtures/x/a.tsv", ""), ("src/t.rs", "fixtures/x/a.tsv")],
            1,
        ),
        (
            fixtures,
            &[
                ("fixtures/x/a.tsv", ""),
                ("fixtures/README.md", "x/: made up"),
            ],
            1,
        ),
        (
            fixtures,
            &[
                ("fixtures/x/a", ""),
                ("fixtures/README.md", "x/"),
                ("tests/t.rs", "fixtures/x"),
            ],
            0,
        ),
    ];
    for (number, (rule, files, want)) in cases.iter().enumerate() {
        let wrong = rule(&Tree::of(files));
        assert_eq!(wrong.len(), *want, "case {number}: {wrong:?}");
    }
    let long = "//\n".repeat(LINES_MAX + 1);
    assert_eq!(lengths(&Tree::of(&[("src/a.rs", &long)])).len(), 1);
    let mut tree = Tree::default();
    tree.top
        .extend(["Makefile", "src", ".ci"].map(str::to_owned));
    assert_eq!(top_level(&tree).len(), 1);
}
