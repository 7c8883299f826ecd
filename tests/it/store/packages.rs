//! The files of packages, beside the database: checked, and carried by archives.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use strait::store::Change;
use strait::store::archive::{self, ArchiveError};
use strait::store::check::check;
use strait::store::memory::{Memory, MemoryStore};
use strait::store::package_files::PackageFiles;
use strait::store::packages::{PackageFile, PackageRecord};

use super::records::*;

/// Keeps a file under its hash.
fn keep(files: &PackageFiles, bytes: &[u8]) -> PackageFile {
    let mut receiving = files.receive().unwrap();
    receiving.write(bytes).unwrap();
    receiving.finish().unwrap()
}

/// A database with two packages of one file and one of another, in this data directory.
fn filled(data: &Path) -> (Memory, PackageFiles, [PackageFile; 2]) {
    let files = PackageFiles::of(data);
    let kept = [keep(&files, &[1; 100_000]), keep(&files, b"two")];
    let engine = Memory::default();
    let mut changes = vec![
        put_product(product("meter", 1)),
        Change::PutApp(Box::new(app("app", 4))),
    ];
    for (seq, file) in [(5, kept[0]), (6, kept[0]), (7, kept[1])] {
        let id = format!("p{seq}");
        let record = PackageRecord {
            package_version: id.clone(),
            file: Some(file),
            ..package(&id, seq)
        };
        let name = named(Some(&id), Some(file.sha256));
        changes.push(Change::PutPackageName(record.name(), name));
        changes.push(Change::PutPackage(Box::new(record)));
    }
    let store = MemoryStore::over(engine.clone());
    write(&store, changes);
    (engine, files, kept)
}

fn mistakes(engine: &Memory, files: &PackageFiles) -> Vec<String> {
    let mut told = Vec::new();
    let tell = &mut |m: strait::store::check::Mistake| told.push(format!("{}: {}", m.row, m.what));
    check(engine, Some(&sealer()), files, &mut |_| (), tell).unwrap();
    told
}

fn import(file: &[u8], into: &PackageFiles) -> Result<Memory, ArchiveError> {
    let engine = Memory::default();
    archive::verify(&mut Cursor::new(file), &mut |_| ())?;
    archive::import(&engine, into, &mut Cursor::new(file), &mut |_| ())?;
    Ok(engine)
}

#[test]
fn an_archive_has_each_file_once_and_check_reads_them() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (engine, files, [one, two]) = filled(old.path());
    // Nobody's.
    keep(&files, b"three");
    assert_eq!(mistakes(&engine, &files), [""; 0]);
    let mut file = Vec::new();
    let contents = archive::export(&engine, &files, &mut file, &mut |_| ()).unwrap();
    assert_eq!((contents.files, &contents.left_out[..]), (2, &[][..]));
    let read = archive::verify(&mut Cursor::new(&file), &mut |_| ()).unwrap();
    assert_eq!(read, contents);
    let to = PackageFiles::of(new.path());
    let copy = import(&file, &to).unwrap();
    assert_eq!(mistakes(&copy, &to), [""; 0]);
    assert_eq!(fs::read_dir(to.directory()).unwrap().count(), 2);

    // Damage of a file on disk is a mistake of the package, and leaves the rest in the archive.
    fs::write(files.path(one.sha256), vec![2; 100_000]).unwrap();
    let told = mistakes(&engine, &files);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("packages p6: "), "{told:?}");
    assert!(told[0].contains(" is damaged: its SHA-256 is "), "{told:?}");
    fs::remove_file(files.path(two.sha256)).unwrap();
    let told = mistakes(&engine, &files);
    assert!(
        told[1].ends_with(" is missing") || told[0].ends_with(" is missing"),
        "{told:?}"
    );
    let mut less = Vec::new();
    let contents = archive::export(&engine, &files, &mut less, &mut |_| ()).unwrap();
    let kinds: Vec<_> = contents.left_out.iter().map(|e| e.kind()).collect();
    assert_eq!(contents.files, 0);
    assert!(
        kinds.contains(&"file_missing") && kinds.contains(&"file_damaged"),
        "{kinds:?}"
    );
    assert!(import(&less, &to).is_ok());
}

#[test]
fn a_changed_file_in_an_archive_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, files, _) = filled(dir.path());
    let mut file = Vec::new();
    archive::export(&engine, &files, &mut file, &mut |_| ()).unwrap();
    // Inside the larger file, which is all ones.
    let at = file
        .windows(50_000)
        .position(|w| w.iter().all(|b| *b == 1))
        .unwrap();
    file[at + 9] = 0;
    let kind = archive::verify(&mut Cursor::new(&file), &mut |_| ())
        .unwrap_err()
        .kind();
    assert_eq!(kind, "file");
    file.truncate(at + 10_000);
    let to = tempfile::tempdir().unwrap();
    let to = PackageFiles::of(to.path());
    let engine = Memory::default();
    let error = archive::import(&engine, &to, &mut Cursor::new(&file), &mut |_| ()).unwrap_err();
    assert_eq!(error.kind(), "truncated");
    let left = fs::read_dir(to.directory()).unwrap();
    let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let torn: Vec<String> = left.filter(|name| name.starts_with('.')).collect();
    assert_eq!(torn, [""; 0], "a half file stays nowhere");
    // Without its format number it is no database.
    let format = strait::store::migrate::format(&engine);
    assert!(!matches!(format, Ok(Some(_))), "{format:?}");
}
