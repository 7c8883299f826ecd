//! `strait store` as an operator runs it: exit codes and what it prints.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use strait::base::peer::DeviceSeq;
use strait::store::disk::{DiskStore, EngineName};
use strait::store::kv::{Kv, Writes};
use strait::store::lock::DataLock;
use strait::store::sled::Sled;
use strait::store::{Store, StoreSettings, keys};

use super::records::*;

/// Exit code, stdout, stderr.
fn strait(words: &[&str], data: &Path, file: Option<&Path>) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strait"));
    command.arg("store").args(words).arg("--data").arg(data);
    command.args(file);
    let done = command.output().unwrap();
    (
        done.status.code().unwrap(),
        String::from_utf8(done.stdout).unwrap(),
        String::from_utf8(done.stderr).unwrap(),
    )
}

fn filled(data: &Path) {
    let settings = StoreSettings::default();
    let key = settings.key_path(data);
    let store = DiskStore::open_with_key(&data.join("store"), &settings, &key).unwrap();
    let seq = store.allocate_seq().unwrap();
    write(
        &store,
        vec![
            put_product(product("meter", 90)),
            put_device(device("one", seq, "meter")),
            put_state("one", long_state(1, 9000, 'a')),
            append(seq, 1000, "[]"),
            emit(1000, "{}"),
            put_session(session("one", seq, 1)),
        ],
    );
}

#[test]
fn export_import_and_check_agree() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new, file) = (
        dir.path().join("old"),
        dir.path().join("new"),
        dir.path().join("backup.strait"),
    );
    filled(&old);
    let (code, out, err) = strait(&["check"], &old, None);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(
        out.starts_with("18 rows, ") && out.ends_with(" 0 mistakes\n"),
        "{out}"
    );

    let (code, out, err) = strait(&["export", "--json"], &old, Some(&file));
    assert_eq!(code, 0, "{err}");
    let key = old.join("sealing.key");
    let advice = format!("keep a copy of {}, apart from the archive", key.display());
    assert!(err.starts_with(&advice), "{err}");
    assert!(err.contains("the secrets of 1 devices"), "{err}");
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["rows"], 17);
    assert_eq!(told["bytes"], fs::metadata(&file).unwrap().len());
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "secrets of devices are inside");

    let named = ["import", "--sealing-key", key.to_str().unwrap()];
    let (code, out, err) = strait(&named, &new, Some(&file));
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("store.sealing_key = "), "{err}");
    assert!(out.starts_with("17 rows into "), "{out}");
    let (code, _, err) = strait(&["check"], &new, None);
    assert_eq!(code, 0);
    assert!(
        err.contains("sealed values stay closed: there is no "),
        "{err}"
    );
    let named = ["check", "--json", "--sealing-key", key.to_str().unwrap()];
    let (code, out, err) = strait(&named, &new, None);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains(r#""opened":true"#), "{out}");
    let settings = StoreSettings::default();
    let store = DiskStore::open_with_key(&new.join("store"), &settings, &key).unwrap();
    let one = store.device(&device_id("one")).unwrap().unwrap();
    assert_eq!(one, device("one", one.seq, "meter"));
    assert_eq!(store.session(DeviceSeq(one.seq)).unwrap(), None);
    let state = store.state(&device_id("one")).unwrap();
    assert_eq!(state, Some(long_state(1, 9000, 'a')));
}

/// Over an archive to fjall, where it stays whatever the setting says, and back again.
#[test]
fn a_database_moves_to_another_engine_and_stays_there() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    filled(&at("one"));
    for (from, to, engine) in [
        ("one", "two", EngineName::Fjall),
        ("two", "three", EngineName::Sled),
    ] {
        let (file, engine_name) = (at(&format!("{to}.strait")), engine.to_string());
        assert_eq!(strait(&["export"], &at(from), Some(&file)).0, 0);
        fs::create_dir(at(to)).unwrap();
        fs::copy(at("one/sealing.key"), at(to).join("sealing.key")).unwrap();
        let words = ["import", "--engine", &engine_name];
        let (code, _, err) = strait(&words, &at(to), Some(&file));
        assert_eq!((code, err.as_str()), (0, ""));
        let (code, out, err) = strait(&["check"], &at(to), None);
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
        let settings = StoreSettings::default();
        let key = settings.key_path(&at(to));
        let store = DiskStore::open_with_key(&at(to).join("store"), &settings, &key).unwrap();
        assert_eq!(store.engine().name(), engine);
        let state = store.state(&device_id("one")).unwrap();
        assert_eq!(state, Some(long_state(1, 9000, 'a')));
    }
}

#[test]
fn an_archive_needs_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new, other, file) = (
        dir.path().join("old"),
        dir.path().join("new"),
        dir.path().join("other.key"),
        dir.path().join("backup.strait"),
    );
    filled(&old);
    assert_eq!(strait(&["export"], &old, Some(&file)).0, 0);
    let (code, out, err) = strait(&["import"], &new, Some(&file));
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("new/sealing.key is missing"), "{err}");
    fs::write(&other, "07".repeat(32)).unwrap();
    let named = ["import", "--sealing-key", other.to_str().unwrap()];
    let (code, out, err) = strait(&named, &new, Some(&file));
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("does not fit"), "{err}");
    assert!(err.contains("backup.strait"), "{err}");
    assert!(!new.exists(), "a refused import left something behind");

    // The key put where the server looks for it.
    fs::create_dir(&new).unwrap();
    fs::copy(old.join("sealing.key"), new.join("sealing.key")).unwrap();
    let (code, _, err) = strait(&["import"], &new, Some(&file));
    assert_eq!((code, err.as_str()), (0, ""));

    // An archive of before needs none: a key is made.
    let fixture = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/fixtures/store/format-1/archive.strait"
    );
    let ancient = dir.path().join("ancient");
    let (code, _, err) = strait(&["import"], &ancient, Some(Path::new(fixture)));
    assert_eq!((code, err.as_str()), (0, ""));
    let (code, out, err) = strait(&["check", "--json"], &ancient, None);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains(r#""opened":true"#), "{out}");
}

#[test]
fn check_prints_mistakes_and_fails() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let engine = Sled::open(&dir.path().join("store"), &StoreSettings::default()).unwrap();
    let mut writes = Writes::new();
    writes.insert(keys::node(&node_id("node-one")), None);
    engine.apply(&writes).unwrap();
    engine.sync().unwrap();
    drop(engine);
    let (code, out, _) = strait(&["check"], dir.path(), None);
    assert_eq!(code, 1);
    let first = out.lines().next().unwrap();
    assert_eq!(
        first,
        "devices one: no index row nodes node-one points here"
    );
    let (code, out, _) = strait(&["check", "--json"], dir.path(), None);
    assert_eq!(code, 1);
    let lines: Vec<serde_json::Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["row"], "devices one");
    assert_eq!(lines[1]["sound"], false);
    assert_eq!(lines[1]["mistakes"], 1);
}

#[test]
fn what_cannot_be_done_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let (used, none, file) = (
        dir.path().join("used"),
        dir.path().join("none"),
        dir.path().join("file"),
    );
    filled(&used);
    fs::write(&file, b"no archive").unwrap();
    let table = [
        (strait(&["check"], &none, None), 1, "holds no database"),
        (
            strait(&["export"], &none, Some(&file)),
            1,
            "holds no database",
        ),
        (
            strait(&["import"], &none, Some(&file)),
            1,
            "it is no archive",
        ),
        (strait(&["import"], &none, Some(&none)), 1, "No such file"),
        (strait(&["import"], &none, None), 2, "Usage"),
        (strait(&["repair"], &none, None), 2, "Usage"),
    ];
    for ((code, out, err), want_code, want) in table {
        assert_eq!(code, want_code, "{want}");
        assert_eq!(out, "");
        assert!(err.contains(want), "want {want:?}, got {err:?}");
    }
    assert!(!none.exists(), "a failed command left something behind");
    let (code, _, _) = strait(&["export"], &used, Some(&file));
    assert_eq!(code, 0);
    let (code, _, err) = strait(&["import"], &used, Some(&file));
    assert_eq!(code, 1);
    assert!(err.contains("is not empty"), "{err}");
    let _lock = DataLock::hold(&used).unwrap();
    let (code, _, err) = strait(&["check"], &used, None);
    assert_eq!(code, 1);
    assert!(err.contains("is in use by another process"), "{err}");
}
