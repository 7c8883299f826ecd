//! Check, archives and old formats.

use std::io::Cursor;
use std::path::Path;

use proptest::prelude::*;
use strait::base::peer::DeviceSeq;
use strait::store::archive::{self, ArchiveError};
use strait::store::check::{Mistake, Totals, check};
use strait::store::kv::{Kv, Writes};
use strait::store::memory::{Memory, MemoryStore};
use strait::store::package_files::PackageFiles;
use strait::store::seal::Sealer;
use strait::store::{Change, Store, keys};

use super::damages::damages;
use super::forwarding::*;
use super::records::*;

/// A small database with a row in every table.
fn filled() -> Memory {
    let engine = Memory::default();
    let store = MemoryStore::over(engine.clone());
    let first = store.allocate_seq().unwrap();
    assert_eq!(first, 1);
    let changes = vec![
        put_product(product("meter", 1)),
        Change::PutCodec(product_id("meter"), Box::new(codec("tag", 10_000))),
        Change::PutSettings(product_id("meter"), Box::new(settings())),
        put_device(device("one", 2, "meter")),
        put_device(device("two", 3, "meter")),
        put_state("one", long_state(1, 9000, 'a')),
        put_state("two", state(7)),
        append(
            2,
            1000,
            r#"[{"service_id":"Meter","properties":{"level":1}}]"#,
        ),
        append(2, 1000, "[]"),
        keep_raw(3, 2000, &[0xff, 0x00]),
        emit(1000, r#"{"resource":"device.property"}"#),
        emit(2000, "{}"),
        put_session(session("two", 3, 9)),
        Change::PutApp(Box::new(app("app", 4))),
        Change::PutGroup(Box::new(group("street", 5))),
        Change::PutTask(Box::new(task(6))),
        put_subtask(6, 0),
        put_file(file("f", 7), content(10_000, 7)),
        Change::PutCertificate(Box::new(certificate("root", 8))),
        put_audit(audit(1000, 9)),
        put_forwarding(rule("r", 10)),
        put_forwarding(push_certificate("c", 11)),
        put_forwarding(action("a", 12, Some("c"))),
        put_forwarding(backlog("b", 13)),
        put_forwarding(flow("f", 14)),
        put_forwarding(queue("q", 15)),
        put_forwarding(access("k")),
        Change::PutPackage(Box::new(package("fw", 16))),
        Change::PutPackageName(package("fw", 16).name(), named(Some("fw"), None)),
    ];
    write(&store, changes);
    engine
}

/// No package of these databases has one.
pub(super) fn no_files() -> PackageFiles {
    PackageFiles::of(Path::new("/nonexistent"))
}

fn checked(engine: &Memory) -> (Totals, Vec<Mistake>) {
    let mut mistakes = Vec::new();
    let totals = check(
        engine,
        Some(&sealer()),
        &no_files(),
        &mut |_| (),
        &mut |m| mistakes.push(m),
    )
    .unwrap();
    assert_eq!(totals.mistakes, u64::try_from(mistakes.len()).unwrap());
    (totals, mistakes)
}

fn exported(engine: &Memory) -> Vec<u8> {
    let mut file = Vec::new();
    archive::export(engine, &no_files(), &mut file, &mut |_| ()).unwrap();
    file
}

fn import(file: &[u8]) -> Result<Memory, ArchiveError> {
    let engine = Memory::default();
    archive::verify(&mut Cursor::new(file), &mut |_| ())?;
    archive::import(&engine, &no_files(), &mut Cursor::new(file), &mut |_| ())?;
    Ok(engine)
}

#[test]
fn check_finds_nothing_wrong_in_a_sound_database() {
    let (totals, mistakes) = checked(&filled());
    assert_eq!(mistakes, []);
    assert_eq!(totals.rows, 52);
}

#[test]
fn check_finds_a_gap_in_the_events() {
    let engine = filled();
    let row = engine.get(&keys::event(2)).unwrap();
    engine
        .apply(&std::iter::once((keys::event(9), row)).collect())
        .unwrap();
    let (_, mistakes) = checked(&engine);
    let told: Vec<String> = mistakes
        .iter()
        .map(|m| format!("{}: {}", m.row, m.what))
        .collect();
    assert_eq!(
        told,
        ["events 0000000000000009: events 3 to 8 are missing before it"]
    );
}

/// Without the key, or with another, everything but the sealed parts is checked.
#[test]
fn check_without_the_key_leaves_seals_closed() {
    let engine = filled();
    let told = |sealer: Option<&Sealer>| {
        let mut told = Vec::new();
        check(&engine, sealer, &no_files(), &mut |_| (), &mut |m| {
            told.push(m.row)
        })
        .unwrap();
        told
    };
    for sealer in [None, Some(&Sealer::new([1; 32])), Some(&sealer())] {
        assert_eq!(told(sealer), [""; 0]);
    }
    let mut row = engine.get(&keys::session(DeviceSeq(3))).unwrap().unwrap();
    let (mid, end) = (row.len() / 2, row.len() - 1);
    row[mid] ^= 1;
    let damage = |row: &[u8]| {
        let key = keys::session(DeviceSeq(3));
        let writes = std::iter::once((key, Some(row.to_vec()))).collect();
        engine.apply(&writes).unwrap();
    };
    damage(&row);
    assert_eq!(told(None), [""; 0]);
    assert_eq!(told(Some(&sealer())).len(), 1);
    damage(&row[..end]);
    assert_eq!(told(None), ["sessions 0000000000000003"]);
}

#[test]
fn check_names_every_damage() {
    for ((key, value), want) in damages() {
        let engine = filled();
        let mut writes = Writes::new();
        writes.insert(key, value);
        engine.apply(&writes).unwrap();
        let (_, mistakes) = checked(&engine);
        let got: Vec<String> = mistakes
            .iter()
            .map(|mistake| format!("{}: {}", mistake.row, mistake.what))
            .collect();
        assert_eq!(got, want);
    }
}

#[test]
fn archive_brings_everything_back() {
    let engine = filled();
    let file = exported(&engine);
    let copy = import(&file).unwrap();
    assert_eq!(checked(&copy).1, []);
    assert_eq!(exported(&copy), file);
    // But for the sessions, which must not go on in two places.
    assert_eq!(copy.get(&keys::session(DeviceSeq(3))).unwrap(), None);
    // The copy goes on where the original stopped.
    let store = MemoryStore::over(copy);
    assert_eq!(store.last_event(), 2);
    assert!(store.allocate_seq().unwrap() > 3);
    write(&store, vec![append(2, 1000, "later")]);
    let rows = store.history(&all_history(2)).unwrap();
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[0].record.services, "later");
}

#[test]
fn archive_goes_into_an_empty_database_alone() {
    let file = exported(&filled());
    let used = filled();
    let result = archive::import(&used, &no_files(), &mut Cursor::new(&file), &mut |_| ());
    assert_eq!(result.unwrap_err().kind(), "not_empty");
}

#[test]
fn damaged_archives_are_refused_by_kind() {
    let file = exported(&filled());
    let changed = |at: usize, to: u8| {
        let mut file = file.clone();
        file[at] = to;
        file
    };
    let mut longer = file.clone();
    longer.push(0);
    let table = [
        (Vec::new(), "truncated"),
        (changed(0, b'X'), "magic"),
        (changed(11, 3), "version"),
        (changed(11, 0), "version"),
        (changed(15, 0), "format"),
        (changed(15, 4), "format"),
        (changed(16, 0xff), "entry"),
        (changed(20, 0xff), "row"),
        (changed(file.len() - 34, 1), "count"),
        (changed(file.len() - 33, 1), "truncated"),
        (changed(file.len() - 33, 2), "mark"),
        (
            changed(file.len() - 1, file[file.len() - 1] ^ 1),
            "checksum",
        ),
        (file[..file.len() - 1].to_vec(), "truncated"),
        (file[..100].to_vec(), "truncated"),
        (longer, "trailing"),
    ];
    for (n, (file, kind)) in table.into_iter().enumerate() {
        let error = import(&file).err().map(|e| e.kind());
        assert_eq!(error, Some(kind), "row {n}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_no_archive(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(import(&bytes).is_err());
        let mut file = exported(&filled());
        file.truncate(16);
        file.extend_from_slice(&bytes);
        prop_assert!(import(&file).is_err());
    }

    #[test]
    fn changed_archives_are_refused(at in any::<usize>(), to in any::<u8>()) {
        let mut file = exported(&filled());
        let at = at % file.len();
        prop_assume!(file[at] != to);
        file[at] = to;
        prop_assert!(import(&file).is_err());
    }
}

/// Databases as older versions and this one wrote them, read by today's code.
#[test]
fn every_format_is_read() {
    format_is_read(include_bytes!(
        "../../../fixtures/store/format-1/archive.strait"
    ));
    format_is_read(include_bytes!(
        "../../../fixtures/store/format-2/archive.strait"
    ));
    format_is_read(include_bytes!(
        "../../../fixtures/store/format-3/archive.strait"
    ));
}

fn format_is_read(file: &[u8]) {
    let engine = import(file).unwrap();
    assert_eq!(checked(&engine).1, []);
    let store = MemoryStore::over(engine.clone());
    assert_eq!(checked(&engine).1, []);
    assert_eq!(store.session(DeviceSeq(3)).unwrap(), None);
    let meter = product_id("meter");
    assert_eq!(store.product(&meter).unwrap(), Some(product("meter", 1)));
    assert_eq!(store.codec(&meter).unwrap(), Some(codec("tag", 10_000)));
    assert_eq!(store.settings(&meter).unwrap(), Some(settings()));
    let one = device_id("one");
    assert_eq!(store.device(&one).unwrap(), Some(device("one", 2, "meter")));
    assert_eq!(store.state(&one).unwrap(), Some(long_state(1, 9000, 'a')));
    assert_eq!(store.state(&device_id("two")).unwrap(), Some(state(7)));
    assert_eq!(store.history(&all_history(2)).unwrap().len(), 2);
    assert_eq!(store.raw_uplinks(3, 9).unwrap()[0].payload, [0xff, 0x00]);
    assert_eq!(store.events(1, 9).unwrap(), [(2, event(2000, "{}"))]);
}

/// Writes the fixture of the newest format: once for each format, before its first release.
/// `cargo test --test it write_format_fixture -- --ignored`
#[test]
#[ignore = "writes a fixture"]
fn write_format_fixture() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/fixtures/store/format-3/archive.strait"
    );
    std::fs::create_dir_all(Path::new(path).parent().unwrap()).unwrap();
    std::fs::write(path, exported(&filled())).unwrap();
}
