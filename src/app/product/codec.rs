//! A product's codec: taken when it compiles against the model, tried without a device.
//!
//! The running codec stays until the new one is committed. ETag is the SHA-256 of the source.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::base::ids::ProductId;
use crate::product::check::{self, Violation};
use crate::product::codec::{
    self, Codec, Decoded, Encode, EncodeProperties, Kind, LoadError, PropertySet, TraceEntry,
    Uplink,
};
use crate::product::profile::Profile;
use crate::store::records::{CodecKind, CodecRecord, ProductRecord};
use crate::store::{Change, Commit, CommitError, Guard};

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

/// A dry run of decode.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodeRun {
    pub decoded: Decoded,
    pub trace: Vec<TraceEntry>,
    /// What the model made of a report; what fits is in `decoded`.
    pub violations: Vec<Violation>,
    pub took_us: u64,
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
        let etag = etag_of(&source);
        let record = CodecRecord {
            kind,
            source,
            etag: etag.clone(),
            uploaded_at: self.parts.clock.now(),
        };
        for _ in 0..TRIES {
            let found = self.parts.store.product(id)?.filter(|p| !p.deleting);
            let Some(product) = found else {
                return Err(ProductError::NotFound(id.clone()));
            };
            let current = self.parts.store.codec(id)?.map(|c| c.etag);
            precondition.check("codec", current.as_deref())?;
            let compiled =
                compile(kind, &record.source, &product.profile).map_err(ProductError::Mistakes)?;
            let commit = Commit {
                guards: vec![
                    // The model is the one that the codec was compiled against.
                    Guard::ProductVersion(id.clone(), product.version),
                    Guard::CodecTag(id.clone(), current.clone()),
                ],
                changes: vec![Change::PutCodec(id.clone(), Box::new(record.clone()))],
            };
            match self.commit(commit).await {
                Ok(()) => {
                    self.reload(id, Some((etag.clone(), compiled)))?;
                    return Ok(Uploaded {
                        etag,
                        is_new: current.is_none(),
                    });
                }
                Err(CommitError::Conflict(_)) => {}
                Err(CommitError::Store(error)) => return Err(error.into()),
            }
        }
        Err(ProductError::Contended)
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

    /// What the product's codec makes of these bytes. Changes nothing.
    pub fn try_decode(
        &self,
        id: &ProductId,
        payload: &[u8],
        f_port: Option<u8>,
    ) -> Result<DecodeRun, ProductError> {
        let (product, codec) = self.codec_of(id)?;
        let uplink = Uplink {
            payload,
            received_at: self.parts.clock.now(),
            f_port,
        };
        let mut trace = Vec::new();
        let began = self.parts.clock.instant();
        let mut decoded = codec.decode(&uplink, Some(&mut trace))?;
        let took_us = micros_since(began, self.parts.clock.instant());
        let violations = match &mut decoded {
            Decoded::Report(report) => check::report(&product.record.profile, report),
            Decoded::Response(_) | Decoded::Nothing => Vec::new(),
        };
        Ok(DecodeRun {
            decoded,
            trace,
            violations,
            took_us,
        })
    }

    /// The bytes of a command, after the check of its parameters against the model.
    pub fn try_encode(
        &self,
        id: &ProductId,
        service_id: &str,
        command_name: &str,
        paras: &Map<String, Value>,
        mid: u16,
    ) -> Result<Vec<u8>, ProductError> {
        let (product, codec) = self.codec_of(id)?;
        let profile = &product.record.profile;
        refuse(&check::command(profile, service_id, command_name, paras))?;
        Ok(codec.encode(&Encode {
            service_id,
            command_name,
            paras,
            mid,
        })?)
    }

    /// The message that sets properties, after the check of those that are wanted.
    pub fn try_set(
        &self,
        id: &ProductId,
        set: &EncodeProperties<'_>,
    ) -> Result<PropertySet, ProductError> {
        let (product, codec) = self.codec_of(id)?;
        refuse(&check::writable(
            &product.record.profile,
            set.service_id,
            set.wanted,
        ))?;
        Ok(codec.encode_properties(set)?)
    }

    fn codec_of(
        &self,
        id: &ProductId,
    ) -> Result<(Arc<ProductRuntime>, Arc<dyn Codec>), ProductError> {
        let product = self.show(id)?;
        match product.codec.clone() {
            Some(codec) => Ok((product, codec)),
            None => Err(ProductError::NoCodec(id.clone())),
        }
    }
}

fn micros_since(began: Instant, ended: Instant) -> u64 {
    u64::try_from(ended.saturating_duration_since(began).as_micros()).unwrap_or(u64::MAX)
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
    stored: Option<&CodecRecord>,
    running: Option<&ProductRuntime>,
    compiled: Option<Compiled>,
) -> Option<Arc<dyn Codec>> {
    if speaks_json(product) {
        return Some(codec::json());
    }
    known(stored, running, compiled, product).or_else(|| compile_stored(stored?, product))
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
    if let Some((_, codec)) = compiled.filter(|(tag, _)| tag == etag) {
        return Some(codec);
    }
    let running = running.filter(|r| !speaks_json(&r.record))?;
    let same =
        running.codec_tag.as_ref() == Some(etag) && running.record.profile == product.profile;
    running.codec.clone().filter(|_| same)
}

/// Compiles what was taken earlier. A codec that an older version took and this one does not is
/// named in the log and left out: the product's uplinks are kept raw.
fn compile_stored(stored: &CodecRecord, product: &ProductRecord) -> Option<Arc<dyn Codec>> {
    match compile(stored.kind, &stored.source, &product.profile) {
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
/// either stands in nobody's way.
pub(super) fn still_fits(
    stored: Option<&CodecRecord>,
    old: &Profile,
    new: &Profile,
) -> Result<Option<Compiled>, ProductError> {
    let Some(stored) = stored else {
        return Ok(None);
    };
    match compile(stored.kind, &stored.source, new) {
        Ok(codec) => Ok(Some((stored.etag.clone(), codec))),
        Err(_) if compile(stored.kind, &stored.source, old).is_err() => Ok(None),
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

fn refuse(violations: &[Violation]) -> Result<(), ProductError> {
    let Some(first) = violations.first() else {
        return Ok(());
    };
    let more = violations.iter().skip(1);
    let problem = more.fold(first.message.clone(), |text, violation| {
        format!("{text}; {}: {}", violation.path, violation.message)
    });
    Err(ProductError::Invalid {
        field: first.path.clone(),
        problem,
    })
}

fn compile(
    kind: CodecKind,
    source: &[u8],
    profile: &Profile,
) -> Result<Arc<dyn Codec>, Vec<LoadError>> {
    let kind = match kind {
        CodecKind::Table => Kind::Table,
        CodecKind::Script => Kind::Script,
        CodecKind::Wasm => Kind::Wasm,
    };
    codec::compile(kind, source, Some(profile), None)
}
