//! The store contract, run on every engine: `contract!` makes one test per case and engine.

mod cases;
mod cli;
mod damages;
mod faults;
mod forwarding;
mod generation;
mod migration;
mod packages;
mod records;
mod tools;

use std::ops::ControlFlow;

use strait::store::fjall::FjallStore;
use strait::store::keys::Table;
use strait::store::kv::{Kv, Order};
use strait::store::memory::{Memory, MemoryStore};
use strait::store::sled::SledStore;
use strait::store::{Store, StoreSettings};

use records::sealer;

/// Key and row.
type Row = (Vec<u8>, Vec<u8>);

/// An engine as the cases see it: opened again and again on the same data.
trait Engine: Default {
    type Store: Store;

    fn open(&self) -> Self::Store;

    fn close(&self, store: &Self::Store);

    /// Every row as it lies in the engine.
    fn rows(&self, store: &Self::Store) -> Vec<Row>;

    /// Part rows of split values.
    fn parts(&self, store: &Self::Store) -> usize {
        let parts = |(key, _): &Row| Table::of(key) == Some(Table::Parts);
        self.rows(store).into_iter().filter(parts).count()
    }

    /// After the store was dropped: what must hold on disk.
    fn inspect(&self) {}
}

#[derive(Default)]
struct InMemory(Memory);

impl Engine for InMemory {
    type Store = MemoryStore;

    fn open(&self) -> MemoryStore {
        MemoryStore::over(self.0.clone())
    }

    fn close(&self, store: &MemoryStore) {
        store.close();
    }

    fn rows(&self, store: &MemoryStore) -> Vec<Row> {
        rows_of(store.engine())
    }
}

struct OnSled(tempfile::TempDir);

impl Default for OnSled {
    fn default() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Engine for OnSled {
    type Store = SledStore;

    fn open(&self) -> SledStore {
        let settings = StoreSettings {
            cache_mb: 4,
            reserve_mb: 1,
            ..StoreSettings::default()
        };
        SledStore::open(self.0.path(), &settings, sealer()).unwrap()
    }

    fn close(&self, store: &SledStore) {
        store.close();
    }

    fn rows(&self, store: &SledStore) -> Vec<Row> {
        rows_of(store.engine())
    }

    /// sled never syncs what it puts into `blobs/`.
    fn inspect(&self) {
        let blobs = std::fs::read_dir(self.0.path().join("blobs")).unwrap();
        assert_eq!(blobs.count(), 0, "the engine wrote blobs");
    }
}

struct OnFjall(tempfile::TempDir);

impl Default for OnFjall {
    fn default() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Engine for OnFjall {
    type Store = FjallStore;

    fn open(&self) -> FjallStore {
        let settings = StoreSettings {
            cache_mb: 4,
            reserve_mb: 1,
            ..StoreSettings::default()
        };
        FjallStore::open(self.0.path(), &settings, sealer()).unwrap()
    }

    fn close(&self, store: &FjallStore) {
        store.close();
    }

    fn rows(&self, store: &FjallStore) -> Vec<Row> {
        rows_of(store.engine())
    }
}

fn rows_of(engine: &impl Kv) -> Vec<Row> {
    let mut rows = Vec::new();
    engine
        .range(&[], &[0xff], Order::Ascending, &mut |key, row| {
            rows.push((key.to_vec(), row.to_vec()));
            ControlFlow::Continue(())
        })
        .unwrap();
    rows
}

macro_rules! contract {
    ($($case:ident),+ $(,)?) => {
        mod memory {
            $(#[test] fn $case() { super::run::<super::InMemory>(super::cases::$case); })+
        }
        mod sled {
            $(#[test] fn $case() { super::run::<super::OnSled>(super::cases::$case); })+
        }
        mod fjall {
            $(#[test] fn $case() { super::run::<super::OnFjall>(super::cases::$case); })+
        }
    };
}

fn run<E: Engine>(case: fn(&E)) {
    let engine = E::default();
    case(&engine);
    engine.inspect();
}

contract!(
    guards_hold_or_conflict,
    conflict_changes_nothing,
    commits_of_one_batch_see_each_other,
    devices_and_their_indexes,
    moved_device_leaves_no_index_behind,
    deleted_device_is_gone,
    pages_of_devices,
    each_device_comes_once_with_its_state,
    products_codecs_settings,
    versions_of_codecs,
    history_ranges_and_markers,
    raw_uplinks_newest_first,
    raw_uplinks_are_read_late,
    replays_go_with_their_product,
    events_in_order_without_gaps,
    long_values_are_split_and_cleaned_up,
    many_rows_of_the_largest_size,
    replaced_values_are_never_read_torn,
    expiry_takes_the_old_and_nothing_else,
    sequence_numbers_never_repeat,
    everything_survives_reopening,
    sessions_come_and_go,
    sessions_are_guarded_by_number,
    a_session_is_not_replaced_by_an_older_one,
    sessions_end_with_their_device,
    secrets_lie_sealed,
    closed_store_refuses,
    searches_answer_as_looking_does,
    prefixes_of_many,
    catalog_records_come_and_go,
    catalog_guards_hold_or_conflict,
    owners_are_there_until_they_are_deleted,
    subtasks_in_order_and_by_ranges,
    files_with_their_contents,
    audit_ranges_markers_and_expiry,
    forwarding_records_come_and_go,
    forwarding_guards_hold_or_conflict,
    forwarding_lies_sealed,
    progress_of_pushes_and_what_is_set_aside,
    packages_and_their_names,
);
