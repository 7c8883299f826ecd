//! Packages, and the names that stay bound when they are gone.

use strait::store::packages::{FileHash, PackageFile, PackageNameRecord, PackageRecord};
use strait::store::{Change, CommitError, Guard, Store};

use crate::store::Engine;
use crate::store::records::*;

pub(crate) fn packages_and_their_names<E: Engine>(engine: &E) {
    let store = engine.open();
    let (one, two) = (package("one", 7), package("two", 300));
    let full = PackageRecord {
        description: Some("d".repeat(1024)),
        custom_info: Some("c".repeat(4096)),
        file: Some(PackageFile {
            sha256: FileHash([7; 32]),
            size: 1 << 40,
        }),
        ..two
    };
    let name = full.name();
    let free = Guard::PackageNameVersion(name.clone(), 0);
    let bound = PackageNameRecord {
        sha256: Some(FileHash([7; 32])),
        ..named(Some("two"), None)
    };
    let changes = vec![
        Change::PutPackage(Box::new(one.clone())),
        Change::PutPackage(Box::new(full.clone())),
        Change::PutPackageName(name.clone(), bound.clone()),
    ];
    let both = vec![free, Guard::PackageVersion(full.package_id.clone(), 0)];
    commit(&store, both.clone(), changes.clone()).unwrap();
    let again = commit(&store, both, changes);
    assert!(matches!(again, Err(CommitError::Conflict(_))), "{again:?}");
    assert_eq!(store.packages().unwrap(), [full.clone(), one]);
    assert_eq!(store.package(&full.package_id).unwrap(), Some(full.clone()));
    assert_eq!(store.package_name(&name).unwrap(), Some(bound.clone()));
    let held = |version| vec![Guard::PackageVersion(full.package_id.clone(), version)];
    assert!(commit(&store, held(2), Vec::new()).is_err());
    // The product goes with its package; what its version means does not.
    let after = PackageNameRecord {
        version: 2,
        package_id: None,
        ..bound
    };
    let gone = vec![
        Change::DeletePackage(full.package_id.clone()),
        Change::PutPackageName(name.clone(), after.clone()),
        Change::DeleteProduct(full.product_id.clone()),
    ];
    commit(&store, held(1), gone).unwrap();
    drop(store);
    let store = engine.open();
    assert_eq!(store.packages().unwrap().len(), 1);
    assert_eq!(store.package(&full.package_id).unwrap(), None);
    assert_eq!(store.package_name(&name).unwrap(), Some(after));
    let version = Guard::PackageNameVersion(name, 2);
    commit(&store, vec![version], Vec::new()).unwrap();
}
