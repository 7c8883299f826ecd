//! Every setting is documented, and `docs/operations.md` has the defaults that the server has.

use std::fs;

use toml::{Table, Value};

/// Every page under `docs`.
fn pages() -> Vec<String> {
    let entries = fs::read_dir("docs").unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let pages = paths.filter(|path| path.extension().is_some_and(|e| e == "md"));
    pages
        .filter(|path| !path.ends_with("CHANGELOG.md"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect()
}

/// Section, key and default of every setting; of those at the top the section is empty.
fn settings() -> Vec<(String, String, Value)> {
    let template: Table = strait::config::TEMPLATE.parse().unwrap();
    let mut all = Vec::new();
    for (section, value) in template {
        match value {
            Value::Table(table) => {
                all.extend(table.into_iter().map(|(k, v)| (section.clone(), k, v)));
            }
            value => all.push((String::new(), section, value)),
        }
    }
    all
}

/// By its whole name, or by its key on a page that speaks of its section.
fn is_told(section: &str, key: &str, page: &str) -> bool {
    let whole = match section {
        "" => format!("`{key}`"),
        section => format!("`{section}.{key}`"),
    };
    let is_of = !section.is_empty() && page.contains(&format!("[{section}]"));
    page.contains(&whole) || (is_of && page.contains(&format!("`{key}`")))
}

#[test]
fn every_setting_is_documented() {
    let pages = pages();
    let missing: Vec<_> = settings()
        .into_iter()
        .filter(|(section, key, _)| !pages.iter().any(|page| is_told(section, key, page)))
        .map(|(section, key, _)| format!("{section}.{key}"))
        .collect();
    assert!(missing.is_empty(), "no page of docs tells of {missing:?}");
}

/// Rows of the table: names in the first cell, their defaults in the second.
#[test]
fn the_table_has_the_defaults() {
    let page = fs::read_to_string("docs/operations.md").unwrap();
    let table = page
        .split("\n## ")
        .find(|s| s.starts_with("Settings\n"))
        .unwrap();
    let settings = settings();
    let mut checked = 0;
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let names = cells[1].split(", ").map(|name| name.trim_matches('`'));
        let names: Vec<&str> = names.collect();
        let defaults = format!("all = [{}]", cells[2].replace('`', ""));
        let defaults: Table = defaults.parse().unwrap();
        let defaults = defaults["all"].as_array().unwrap();
        assert_eq!(defaults.len(), names.len(), "{row}");
        for (name, default) in names.into_iter().zip(defaults) {
            let (section, key) = name.split_once('.').unwrap_or(("", name));
            let known = settings.iter().find(|(s, k, _)| s == section && k == key);
            let (_, _, known) = known.unwrap_or_else(|| panic!("there is no setting {name}"));
            assert_eq!(known, default, "{name}");
            checked += 1;
        }
    }
    assert!(checked > 30, "{checked} settings in the table");
}
