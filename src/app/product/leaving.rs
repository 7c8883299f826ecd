//! Products on their way out. One is marked first, in one commit: from then on neither it nor its
//! devices are there for anyone, and none can be created in it. Its devices go next, one by one
//! (`app::removal`), and then the product itself. What is hidden is judged by `Store::leaving`, which
//! changes together with what searches find.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use super::{ProductError, ProductRuntime, Products, TRIES, error};
use crate::base::ids::ProductId;
use crate::store::records::ProductRecord;
use crate::store::{Change, Commit, CommitError, Guard, StoreError};

impl Products {
    /// A product that is being deleted, for its last events.
    pub fn leaving(&self, id: &ProductId) -> Option<Arc<ProductRuntime>> {
        self.held().leaving.get(id).map(Arc::clone)
    }

    /// Products that are being deleted, whose devices are not there for anyone.
    pub fn hidden(&self) -> HashSet<ProductId> {
        self.held().leaving.keys().cloned().collect()
    }

    /// Takes all of these away from everyone's eyes, at the same moment.
    pub fn hide(&self, ids: &[ProductId]) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            if let Some(runtime) = held.there.remove(id) {
                held.leaving.insert(id.clone(), runtime);
            }
        }
    }

    /// The record that marks a product as being deleted.
    pub fn marked(product: &ProductRecord) -> ProductRecord {
        ProductRecord {
            version: product.version.saturating_add(1),
            deleting: true,
            ..product.clone()
        }
    }

    /// Marks a product: with this it is gone for everyone.
    pub async fn begin_removal(&self, id: &ProductId) -> Result<(), ProductError> {
        for _ in 0..TRIES {
            let found = self.parts.store.product(id)?.filter(|p| !p.deleting);
            let Some(product) = found else {
                return Err(ProductError::NotFound(id.clone()));
            };
            let commit = Commit {
                guards: vec![Guard::ProductVersion(id.clone(), product.version)],
                changes: vec![Change::PutProduct(Box::new(Self::marked(&product)))],
            };
            match self.commit(commit).await {
                Ok(()) => {
                    self.hide(std::slice::from_ref(id));
                    return Ok(());
                }
                Err(CommitError::Conflict(_)) => {}
                Err(error) => return Err(error::of_commit(error)),
            }
        }
        Err(ProductError::Contended)
    }

    /// Deletes a marked product that has no device any more, and emits `product:delete`. False when
    /// devices are left.
    pub async fn finish_removal(&self, id: &ProductId) -> Result<bool, StoreError> {
        let found = self.parts.store.product(id)?.filter(|p| p.deleting);
        let Some(product) = found else {
            return Ok(true); // somebody else was faster
        };
        let commit = Commit {
            guards: vec![
                Guard::ProductVersion(id.clone(), product.version),
                Guard::ProductUnused(id.clone()),
            ],
            changes: vec![
                Change::DeleteProduct(id.clone()),
                self.event("delete", &product),
            ],
        };
        match self.commit(commit).await {
            Ok(()) => {
                self.reload(id, None)?;
                Ok(true)
            }
            Err(CommitError::Conflict(_)) => Ok(false),
            Err(CommitError::Store(error)) => Err(error),
        }
    }
}
