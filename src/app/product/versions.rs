//! The codecs that were uploaded for a product: the last [`KEPT`] are kept, and each can be made to run
//! again.
//!
//! A version is a source, known by its ETag. Uploading a source that is kept moves it to the newest place;
//! a rollback moves nothing, so that going back twice goes back by two. The codec that runs is a version also
//! when it has no row: it was uploaded before versions were kept. Deleting the codec leaves its versions.

use std::sync::Arc;

use super::codec::Uploaded;
use super::precondition::Precondition;
use super::{ProductError, Products, TRIES};
use crate::base::ids::ProductId;
use crate::store::records::CodecRecord;
use crate::store::{Change, StoreError};

/// Versions of one product.
pub const KEPT: usize = 10;

/// A kept codec.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    pub codec: CodecRecord,
    pub is_running: bool,
}

impl Products {
    /// The kept versions, newest first.
    pub fn codec_versions(&self, id: &ProductId) -> Result<Vec<Version>, ProductError> {
        self.show(id)?;
        let running = self.parts.store.codec(id)?;
        Ok(self.versions(id, running.as_ref())?)
    }

    /// One of them.
    pub fn codec_version(&self, id: &ProductId, etag: &str) -> Result<CodecRecord, ProductError> {
        let mut versions = self.codec_versions(id)?.into_iter();
        let found = versions.find(|version| version.codec.etag == etag);
        found
            .map(|version| version.codec)
            .ok_or_else(|| no_version(id, etag))
    }

    fn versions(
        &self,
        id: &ProductId,
        running: Option<&CodecRecord>,
    ) -> Result<Vec<Version>, StoreError> {
        let is_running = |codec: &CodecRecord| running.is_some_and(|r| r.etag == codec.etag);
        let kept = self.parts.store.codec_versions(id)?.into_iter();
        let mut versions: Vec<Version> = kept
            .map(|(_, codec)| Version {
                is_running: is_running(&codec),
                codec,
            })
            .collect();
        if let Some(running) = running.filter(|_| !versions.iter().any(|v| v.is_running)) {
            versions.push(Version {
                codec: running.clone(),
                is_running: true,
            });
        }
        Ok(versions)
    }

    /// What makes `record` the newest version. `running`: what it replaces.
    pub(super) fn as_newest(
        &self,
        id: &ProductId,
        record: &CodecRecord,
        running: Option<&CodecRecord>,
    ) -> Result<Vec<Change>, StoreError> {
        let store = &self.parts.store;
        let kept = store.codec_versions(id)?;
        let mut changes = Vec::new();
        let mut put = |codec: &CodecRecord| {
            let seq = store.allocate_seq()?;
            let codec = Box::new(codec.clone());
            changes.push(Change::PutCodecVersion(id.clone(), seq, codec));
            Ok::<_, StoreError>(())
        };
        let is_kept = |codec: &CodecRecord| kept.iter().any(|(_, k)| k.etag == codec.etag);
        let unkept = running.filter(|running| !is_kept(running));
        if let Some(running) = unkept {
            put(running)?;
        }
        put(record)?;
        let others = kept.iter().filter(|(_, k)| k.etag != record.etag);
        let room = KEPT.saturating_sub(changes.len());
        let surplus = others.skip(room);
        let moved = kept.iter().filter(|(_, k)| k.etag == record.etag);
        let gone: Vec<u64> = surplus.chain(moved).map(|(seq, _)| *seq).collect();
        let gone = gone.into_iter();
        changes.extend(gone.map(|seq| Change::DeleteCodecVersion(id.clone(), seq)));
        Ok(changes)
    }

    /// Makes a kept version run: the one with this ETag, else the one before the running one, else, when
    /// none runs, the newest. The precondition is about the codec that runs. Errors: `NoVersion`; those
    /// of an upload, for the version has to fit the model of now.
    pub async fn roll_back_codec(
        self: &Arc<Self>,
        id: ProductId,
        etag: Option<String>,
        precondition: Precondition,
    ) -> Result<Uploaded, ProductError> {
        let this = Arc::clone(self);
        self.finish("codec rollback", async move {
            for _ in 0..TRIES {
                let running = this.replaceable_codec(&id, &precondition)?;
                let versions = this.versions(&id, running.as_ref())?;
                let version = chosen(versions, etag.as_deref()).ok_or_else(|| {
                    no_version(&id, etag.as_deref().unwrap_or("before the one that runs"))
                })?;
                let uploaded = Uploaded {
                    etag: version.codec.etag.clone(),
                    is_new: running.is_none(),
                };
                if version.is_running {
                    return Ok(uploaded);
                }
                let current = running.map(|codec| codec.etag);
                let done = this.run_codec(&id, &version.codec, current, Vec::new());
                if done.await? {
                    return Ok(uploaded);
                }
            }
            Err(ProductError::Contended)
        })
        .await
    }
}

/// The version that a rollback means. `versions`: newest first.
fn chosen(versions: Vec<Version>, etag: Option<&str>) -> Option<Version> {
    let running = versions.iter().position(|version| version.is_running);
    let mut versions = versions.into_iter();
    match (etag, running) {
        (Some(etag), _) => versions.find(|version| version.codec.etag == etag),
        (None, Some(running)) => versions.nth(running + 1),
        (None, None) => versions.next(),
    }
}

fn no_version(id: &ProductId, which: &str) -> ProductError {
    ProductError::NoVersion {
        product_id: id.clone(),
        which: which.to_owned(),
    }
}
