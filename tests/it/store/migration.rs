//! Old databases: their secrets are sealed, a crash in between does no harm, and no key but theirs
//! opens what is sealed.

use std::io::Cursor;
use std::sync::atomic::{AtomicUsize, Ordering};

use strait::base::ids::AppId;
use strait::base::secret::Secret;
use strait::store::disk::DiskStore;
use strait::store::find::{Filter, Find, FindOrder};
use strait::store::kv::{Kv, KvStore, Order, Visit, Writes};
use strait::store::memory::{Memory, MemoryStore};
use strait::store::records::DeviceRecord;
use strait::store::seal::Sealer;
use strait::store::{
    Change, Guard, Store, StoreError, StoreSettings, archive, keys, migrate, rows,
};

use super::records::*;
use super::rows_of;
use super::tools::no_files;

fn import(file: &[u8]) -> Memory {
    let engine = Memory::default();
    archive::import(&engine, &no_files(), &mut Cursor::new(file), &mut |_| ()).unwrap();
    engine
}

/// The secret of both devices in the fixtures.
fn shows_secret(row: &[u8]) -> bool {
    row.windows(8).any(|bytes| bytes == b"00112233")
}

#[test]
fn format_1_is_sealed_when_it_is_opened() {
    let file = include_bytes!("../../../fixtures/store/format-1/archive.strait");
    let engine = import(file);
    let shown = rows_of(&engine)
        .iter()
        .filter(|(_, row)| shows_secret(row))
        .count();
    assert_eq!(shown, 2, "the fixture has its secrets in the open");
    let store = MemoryStore::over(engine.clone());
    for (id, seq) in [("one", 2), ("two", 3)] {
        let read = store.device(&device_id(id)).unwrap();
        assert_eq!(read, Some(device(id, seq, "meter")));
    }
    let shown: Vec<_> = rows_of(&engine)
        .into_iter()
        .filter(|(_, row)| shows_secret(row))
        .collect();
    assert_eq!(shown, []);
    let format = engine.get(&keys::meta(keys::Meta::Format)).unwrap();
    assert_eq!(format, Some(3_u32.to_be_bytes().to_vec()));
}

fn found(store: &impl Store, filter: &Filter) -> u64 {
    let find = Find {
        filter,
        now: at(0),
        order: FindOrder::NewestFirst,
        offset: 0,
        limit: 0,
        beyond: None,
    };
    store.find(&find).unwrap().count
}

/// Devices and products of formats 1 and 2 are found by name and node id, and each space they name
/// has a record.
#[test]
fn older_formats_get_names_and_spaces() {
    let files = [
        &include_bytes!("../../../fixtures/store/format-1/archive.strait")[..],
        &include_bytes!("../../../fixtures/store/format-2/archive.strait")[..],
    ];
    for file in files {
        let engine = import(file);
        let store = MemoryStore::over(engine.clone());
        assert_eq!(found(&store, &Filter::Name("Zähler".to_owned())), 2);
        assert_eq!(found(&store, &Filter::NodePrefix("node-".to_owned())), 2);
        assert_eq!(found(&store, &Filter::Node(node_id("node-two"))), 1);
        let owner = store.device_by_node(&node_id("node-two")).unwrap();
        assert_eq!(owner, Some(device_id("two")));
        let [app] = &store.apps().unwrap()[..] else {
            panic!("{:?}", store.apps());
        };
        assert_eq!((app.app_id.as_str(), app.app_name.as_str()), ("app", "app"));
        assert_eq!(
            (app.version, app.is_default, app.deleting),
            (1, false, false)
        );
        // As old as its product.
        assert_eq!(app.created_at, at(5));
        assert!(app.seq < store.allocate_seq().unwrap());
        commit(&store, vec![Guard::AppExists(app.app_id.clone())], vec![]).unwrap();
    }
}

/// The space that takes what names none is known by its id; a space of devices alone is as old as
/// the oldest of them.
#[test]
fn the_default_space_stays_it() {
    let engine = Memory::default();
    let mut writes = Writes::new();
    let format = 1_u32.to_be_bytes().to_vec();
    writes.insert(keys::meta(keys::Meta::Format), Some(format));
    for (seq, app, created_ms) in [(1, "default", 30), (2, "default", 20), (3, "other", 40)] {
        let record = DeviceRecord {
            app_id: AppId::parse(app).unwrap(),
            created_at: at(created_ms),
            ..device(&format!("d{seq}"), seq, "p")
        };
        let row = rows::encode(&record).unwrap();
        writes.insert(keys::device(&record.device_id), Some(row));
    }
    engine.apply(&writes).unwrap();
    let store = MemoryStore::over(engine);
    let mut apps = store.apps().unwrap();
    apps.sort_by_key(|app| app.created_at);
    let told: Vec<_> = apps
        .iter()
        .map(|app| (app.app_id.as_str(), app.is_default, app.created_at.as_ms()))
        .collect();
    assert_eq!(told, [("default", true, 20), ("other", false, 40)]);
}

/// A database of format 1 with so many devices, each third of them split.
fn old(devices: u64) -> Memory {
    let engine = Memory::default();
    let mut writes = Writes::new();
    let format = 1_u32.to_be_bytes().to_vec();
    writes.insert(keys::meta(keys::Meta::Format), Some(format));
    for seq in 0..devices {
        let record = old_device(seq);
        let row = rows::encode(&record).unwrap();
        let key = keys::device(&record.device_id);
        if row.len() <= rows::ROW_WHOLE_MAX {
            writes.insert(key, Some(row));
            continue;
        }
        let split = rows::Split::plan(seq, &row).unwrap();
        for (index, part) in (0..split.parts).zip(row.chunks(rows::ROW_WHOLE_MAX)) {
            writes.insert(keys::part(seq, index), Some(part.to_vec()));
        }
        writes.insert(key, Some(split.encode()));
    }
    engine.apply(&writes).unwrap();
    engine
}

fn old_device(seq: u64) -> DeviceRecord {
    let mut record = device(&format!("d{seq}"), seq, "p");
    record.auth.secondary_secret = Some(Secret::new(format!("00112233{seq}")));
    if seq.is_multiple_of(3) {
        record.description = Some("x".repeat(9000));
    }
    record
}

/// An engine that dies for good after so many writes.
struct Dying {
    memory: Memory,
    left: AtomicUsize,
}

impl Kv for Dying {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.memory.get(key)
    }
    fn range(&self, from: &[u8], to: &[u8], order: Order, v: Visit<'_>) -> Result<(), StoreError> {
        self.memory.range(from, to, order, v)
    }
    fn apply(&self, writes: &Writes) -> Result<(), StoreError> {
        let left = self.left.load(Ordering::SeqCst).checked_sub(1);
        let left = left.ok_or_else(|| StoreError::Io("died".to_owned()))?;
        self.left.store(left, Ordering::SeqCst);
        self.memory.apply(writes)
    }
    fn sync(&self) -> Result<(), StoreError> {
        self.memory.sync()
    }
    fn admit(&self, bytes: u64) -> Result<(), StoreError> {
        self.memory.admit(bytes)
    }
    fn ready(&self) -> Result<(), StoreError> {
        self.memory.ready()
    }
    fn recover(&self) -> Result<(), StoreError> {
        self.memory.recover()
    }
    fn size_bytes(&self) -> Result<u64, StoreError> {
        self.memory.size_bytes()
    }
    fn close(&self) {}
    fn origin(&self) -> Result<Vec<u8>, StoreError> {
        self.memory.origin()
    }
    fn place(&self) -> String {
        self.memory.place()
    }
}

#[test]
fn a_crash_between_batches_is_gone_on_from() {
    let count = 700;
    let mut finished = false;
    for writes in 0..12 {
        let engine = Dying {
            memory: old(count),
            left: AtomicUsize::new(writes),
        };
        let first = migrate::migrate(&engine, &sealer());
        let memory = engine.memory;
        if writes > 0 {
            // Half sealed, it takes no other key.
            let other = migrate::migrate(&memory, &Sealer::new([1; 32]));
            assert_eq!(other.unwrap_err().kind(), "key_other");
        }
        finished = first.is_ok();
        let store = MemoryStore::over(memory.clone());
        for seq in 0..count {
            let read = store.device(&device_id(&format!("d{seq}"))).unwrap();
            assert_eq!(read, Some(old_device(seq)), "{writes} writes");
        }
        assert_eq!(found(&store, &Filter::NamePrefix("Z".to_owned())), count);
        assert_eq!(
            found(&store, &Filter::NodePrefix("node-d".to_owned())),
            count
        );
        let apps = store.apps().unwrap();
        assert_eq!(apps.len(), 1, "{apps:?}");
        let rows = rows_of(&memory);
        assert!(
            !rows.iter().any(|(_, row)| shows_secret(row)),
            "{writes} writes"
        );
        let parts = rows
            .iter()
            .filter(|(key, _)| keys::Table::of(key) == Some(keys::Table::Parts));
        assert_eq!(parts.count(), 3 * 234, "{writes} writes");
    }
    assert!(finished, "more writes than tried");
}

#[test]
fn another_key_opens_nothing() {
    let engine = Memory::default();
    let store = MemoryStore::over(engine.clone());
    write(&store, vec![put_device(device("d", 5, "p"))]);
    let row = engine.get(&keys::device(&device_id("d"))).unwrap();
    drop(store);
    let settings = StoreSettings::default();
    let refused = KvStore::start(engine.clone(), &settings, Sealer::new([1; 32])).unwrap_err();
    assert_eq!(refused.kind(), "key_other");
    let text = refused.to_string();
    assert!(text.contains("does not fit memory"), "{text}");
    assert!(text.contains("store.sealing_key"), "{text}");

    // A row of another database: read as damage, and nobody else's commits suffer.
    let other = Memory::default();
    let theirs = KvStore::start(other.clone(), &settings, Sealer::new([1; 32])).unwrap();
    write(&theirs, vec![put_device(device("e", 6, "p"))]);
    let moved = [(keys::device(&device_id("d")), row)].into_iter().collect();
    other.apply(&moved).unwrap();
    let error = theirs.device(&device_id("d")).unwrap_err();
    assert_eq!(error.kind(), "corrupt");
    assert!(
        error.to_string().contains("the sealing key does not fit"),
        "{error}"
    );
    assert!(theirs.device(&device_id("e")).unwrap().is_some());
    write(&theirs, vec![Change::DeleteDevice(device_id("d"))]);
    assert_eq!(theirs.device(&device_id("d")).unwrap(), None);
}

#[test]
fn the_key_file_belongs_to_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let (data, key) = (dir.path().join("store"), dir.path().join("sealing.key"));
    let settings = StoreSettings {
        cache_mb: 4,
        ..StoreSettings::default()
    };
    let open = || DiskStore::open_with_key(&data, &settings, &key);
    write(&open().unwrap(), vec![put_device(device("d", 5, "p"))]);
    let read = open().unwrap().device(&device_id("d")).unwrap();
    assert_eq!(read, Some(device("d", 5, "p")));
    let saved = std::fs::read(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    let missing = open().unwrap_err();
    assert_eq!(missing.kind(), "key_missing");
    assert!(
        !key.exists(),
        "a new key would hide that the old one is needed"
    );
    std::fs::write(&key, format!("{}\n", "ab".repeat(32))).unwrap();
    assert_eq!(open().unwrap_err().kind(), "key_other");
    std::fs::write(&key, saved).unwrap();
    assert!(open().is_ok());
}
