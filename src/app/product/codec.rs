//! A product's codec: taken when it compiles against the model, and, with code of its own, when a
//! worker can load it.
//!
//! The running codec stays until the new one is committed. ETag is the SHA-256 of the source. Uploading what runs
//! already changes nothing. Errors: [`ProductError`].

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::base::ids::ProductId;
use crate::product::codec::call::{Options, Outside};
use crate::product::codec::{self, Codec, Kind, LoadError};
use crate::product::profile::Profile;
use crate::product::settings::Settings;
use crate::store::records::{CodecKind, CodecRecord, ProductRecord};
use crate::store::{Change, Commit, CommitError, Guard, StoreError};

use super::precondition::Precondition;
use super::{ProductError, ProductRuntime, Products, TRIES, error};

/// A codec ready to run, with the ETag of its source.
pub(super) type Compiled = (String, Arc<dyn Codec>);

/// What an upload did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    pub etag: String,
    /// There was none before.
    pub is_new: bool,
}

impl Products {
    /// Compiles `source` against the model and makes it the product's codec.
    pub async fn put_codec(
        self: &Arc<Self>,
        id: ProductId,
        kind: CodecKind,
        source: Vec<u8>,
        precondition: Precondition,
    ) -> Result<Uploaded, ProductError> {
        let this = Arc::clone(self);
        self.finish("codec upload", async move {
            this.put_codec_now(&id, kind, source, &precondition).await
        })
        .await
    }

    async fn put_codec_now(
        &self,
        id: &ProductId,
        kind: CodecKind,
        source: Vec<u8>,
        precondition: &Precondition,
    ) -> Result<Uploaded, ProductError> {
        let record = CodecRecord {
            kind,
            etag: etag_of(&source),
            source,
            uploaded_at: self.parts.clock.now(),
        };
        for _ in 0..TRIES {
            let current = self.replaceable_codec(id, precondition)?;
            if let Some(current) = &current
                && (&current.etag, current.kind) == (&record.etag, kind)
            {
                return Ok(Uploaded {
                    etag: record.etag,
                    is_new: false,
                });
            }
            let changes = self.as_newest(id, &record, current.as_ref())?;
            let current = current.map(|c| c.etag);
            if self
                .run_codec(id, &record, current.clone(), changes)
                .await?
            {
                return Ok(Uploaded {
                    etag: record.etag,
                    is_new: current.is_none(),
                });
            }
        }
        Err(ProductError::Contended)
    }

    /// The codec that is to be replaced, when the product is there and the precondition holds.
    pub(super) fn replaceable_codec(
        &self,
        id: &ProductId,
        precondition: &Precondition,
    ) -> Result<Option<CodecRecord>, ProductError> {
        self.show(id)?;
        let current = self.parts.store.codec(id)?;
        precondition.check("codec", current.as_ref().map(|c| c.etag.as_str()))?;
        Ok(current)
    }

    /// Checks a codec and makes it the one that runs, with what else changes. False: others changed the
    /// product meanwhile. `current`: what runs now.
    pub(super) async fn run_codec(
        &self,
        id: &ProductId,
        record: &CodecRecord,
        current: Option<String>,
        mut changes: Vec<Change>,
    ) -> Result<bool, ProductError> {
        let found = self.parts.store.product(id)?.filter(|p| !p.deleting);
        let Some(product) = found else {
            return Err(ProductError::NotFound(id.clone()));
        };
        let settings = self.settings_of(id)?;
        let compiled =
            compile(record, &product.profile, &settings).map_err(ProductError::Mistakes)?;
        if let Some(outside) = compiled.outside() {
            let checked = self.parts.codecs.check(outside).await;
            checked.map_err(ProductError::Mistakes)?;
        }
        let guards = vec![
            // The model is the one that the codec was compiled against.
            Guard::ProductVersion(id.clone(), product.version),
            Guard::CodecTag(id.clone(), current),
        ];
        changes.push(Change::PutCodec(id.clone(), Box::new(record.clone())));
        match self.commit(Commit { guards, changes }).await {
            Ok(()) => {
                self.reload(id, Some((record.etag.clone(), compiled)))?;
                Ok(true)
            }
            Err(CommitError::Conflict(_)) => Ok(false),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }

    pub(super) fn settings_of(&self, id: &ProductId) -> Result<Settings, StoreError> {
        let record = self.parts.store.settings(id)?;
        Ok(record.map(|record| record.settings).unwrap_or_default())
    }

    /// The codec as it was uploaded.
    pub fn show_codec(&self, id: &ProductId) -> Result<CodecRecord, ProductError> {
        self.show(id)?;
        let found = self.parts.store.codec(id)?;
        found.ok_or_else(|| ProductError::NoCodec(id.clone()))
    }

    /// Takes the codec away: uplinks are kept raw from then on.
    pub async fn delete_codec(
        self: &Arc<Self>,
        id: ProductId,
        precondition: Precondition,
    ) -> Result<(), ProductError> {
        let this = Arc::clone(self);
        self.finish("codec delete", async move {
            for _ in 0..TRIES {
                let current = this.show_codec(&id)?.etag;
                precondition.check("codec", Some(&current))?;
                let commit = Commit {
                    guards: vec![
                        Guard::ProductExists(id.clone()),
                        Guard::CodecTag(id.clone(), Some(current)),
                    ],
                    changes: vec![Change::DeleteCodec(id.clone())],
                };
                match this.commit(commit).await {
                    Ok(()) => return Ok(this.reload(&id, None)?),
                    Err(CommitError::Conflict(_)) => {}
                    Err(error) => return Err(error::of_commit(error)),
                }
            }
            Err(ProductError::Contended)
        })
        .await
    }
}

fn etag_of(source: &[u8]) -> String {
    Sha256::digest(source)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// What reads and writes the bytes of the product's devices.
pub(super) fn of(
    product: &ProductRecord,
    settings: &Settings,
    stored: Option<&CodecRecord>,
    running: Option<&ProductRuntime>,
    compiled: Option<Compiled>,
) -> Option<Arc<dyn Codec>> {
    if speaks_json(product) {
        return Some(codec::json());
    }
    known(stored, running, compiled, product).or_else(|| compile_stored(stored?, product, settings))
}

/// The running codec is the one that ran before.
pub(super) fn is_same(one: &dyn Codec, other: &dyn Codec) -> bool {
    match (one.outside(), other.outside()) {
        (Some(one), Some(other)) => one.tag == other.tag,
        _ => std::ptr::addr_eq(one, other),
    }
}

/// Devices of such a product need no codec of their own; an uploaded one rests.
fn speaks_json(product: &ProductRecord) -> bool {
    product.data_format == "json"
}

/// The compiled form of a stored codec when it is at hand: freshly compiled, or running already
/// against the same model.
fn known(
    stored: Option<&CodecRecord>,
    running: Option<&ProductRuntime>,
    compiled: Option<Compiled>,
    product: &ProductRecord,
) -> Option<Arc<dyn Codec>> {
    let etag = &stored?.etag;
    // One that runs elsewhere hangs on the settings too, and is soon made.
    let here = |codec: &Arc<dyn Codec>| codec.outside().is_none();
    if let Some((_, codec)) = compiled.filter(|(tag, codec)| tag == etag && here(codec)) {
        return Some(codec);
    }
    let running = running.filter(|r| !speaks_json(&r.record))?;
    let same =
        running.codec_tag.as_ref() == Some(etag) && running.record.profile == product.profile;
    running.codec.clone().filter(|codec| same && here(codec))
}

/// Compiles what was taken earlier. A codec that an older version took and this one does not is
/// named in the log and left out: the product's uplinks are kept raw.
fn compile_stored(
    stored: &CodecRecord,
    product: &ProductRecord,
    settings: &Settings,
) -> Option<Arc<dyn Codec>> {
    match compile(stored, &product.profile, settings) {
        Ok(codec) => Some(codec),
        Err(mistakes) => {
            let product_id = &product.product_id;
            let first = mistakes.first().map(ToString::to_string);
            tracing::error!(%product_id, mistakes = mistakes.len(), first,
                "the codec does not compile any more, uplinks are kept raw: upload a new one");
            None
        }
    }
}

/// Refuses a new model that the stored codec does not fit. One that did not fit the old model
/// either stands in nobody's way; one with code of its own fits each.
pub(super) fn still_fits(
    stored: Option<&CodecRecord>,
    old: &Profile,
    new: &Profile,
    settings: &Settings,
) -> Result<Option<Compiled>, ProductError> {
    let Some(stored) = stored else {
        return Ok(None);
    };
    match compile(stored, new, settings) {
        Ok(codec) => Ok(Some((stored.etag.clone(), codec))),
        Err(_) if compile(stored, old, settings).is_err() => Ok(None),
        Err(mistakes) => {
            let first = mistakes
                .first()
                .map_or_else(String::new, ToString::to_string);
            let problem = format!(
                "the running codec does not fit this model ({first}); add to the model first, then \
                 replace the codec, then take away, or delete the codec"
            );
            Err(ProductError::Invalid {
                field: "service_capabilities".into(),
                problem,
            })
        }
    }
}

fn compile(
    stored: &CodecRecord,
    profile: &Profile,
    settings: &Settings,
) -> Result<Arc<dyn Codec>, Vec<LoadError>> {
    let service = settings.ts013_service.as_deref();
    let codec = codec::compile(kind_of(stored.kind), &stored.source, Some(profile), service)?;
    match codec.outside() {
        Some(outside) if settings.codec.trusted => {
            let options = Options {
                trusted: true,
                ..outside.options.as_ref().clone()
            };
            Ok(Arc::new(Outside {
                options: Arc::new(options),
                ..outside.clone()
            }))
        }
        Some(_) | None => Ok(codec),
    }
}

/// The sort of a stored codec.
pub const fn kind_of(kind: CodecKind) -> Kind {
    match kind {
        CodecKind::Table => Kind::Table,
        CodecKind::Script => Kind::Script,
        CodecKind::Wasm => Kind::Wasm,
    }
}
