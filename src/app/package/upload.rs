//! Uploads: the body goes to disk piece by piece and is hashed on its way, on a thread of its own; then it is
//! judged, kept under its hash, and only then named by a record. What ends in the middle leaves nothing, or
//! what the next start sweeps.
//!
//! The same file again under the same name is the package that is there. A package that was made without a
//! file gets it this way.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;

use super::error::invalid;
use super::{PackageError, Packages, fresh_id, rules, signature};
use crate::base::ids::ProductId;
use crate::store::package_files::{FilesError, PackageFiles, Receiving};
use crate::store::packages::{FileHash, PackageFile, PackageRecord, PackageType};

/// Pieces that wait for the disk.
const PIECES: usize = 4;

/// Bytes of a product's package file, and what it says of itself. Formats were checked by the caller.
#[derive(Debug, Clone, PartialEq)]
pub struct NewUpload {
    pub package_type: PackageType,
    pub product_id: ProductId,
    pub package_version: String,
    pub fragment_size: Option<u32>,
    pub support_source_versions: Option<Vec<String>>,
    pub module_name: Option<String>,
    pub description: Option<String>,
    pub custom_info: Option<String>,
    pub file_name: Option<String>,
    pub signature: Option<[u8; 64]>,
    /// Bytes that the caller says he sends.
    pub size: Option<u64>,
}

/// What an upload came to.
#[derive(Debug, Clone)]
pub struct Uploaded {
    pub package: Arc<PackageRecord>,
    /// `false`: it was there before, with this file.
    pub is_new: bool,
}

/// A body in pieces. An error ends it.
pub type Body = std::pin::Pin<Box<dyn Stream<Item = Result<Bytes, PackageError>> + Send>>;

impl Packages {
    /// Keeps a file as a package, or as the file of one that has none yet.
    pub async fn upload(
        self: &Arc<Self>,
        new: NewUpload,
        body: Body,
    ) -> Result<Uploaded, PackageError> {
        let this = Arc::clone(self);
        self.finish(
            "package upload",
            async move { this.upload_now(new, body).await },
        )
        .await
    }

    async fn upload_now(&self, new: NewUpload, body: Body) -> Result<Uploaded, PackageError> {
        let mut record = self.draft_of(&new)?;
        rules::check(&record)?;
        if let Some(size) = new.size {
            self.check_size(Some(size))?;
            rules::check_fragments(record.package_type, record.fragment_size, size)?;
        }
        let needs_signature = self.parts.settings.require_signature || new.signature.is_some();
        if needs_signature && (new.signature.is_none() || self.keys.is_empty()) {
            let problem = match new.signature {
                None => {
                    "is missing, takes an Ed25519 signature of the file (packages.require_signature)"
                }
                Some(_) => "can't be checked: no keys are configured (packages.keys); leave it out",
            };
            return Err(invalid("signature", problem));
        }
        self.check_room_of_new(&record)?;
        let max = self.parts.settings.uploads_max;
        let turn = self.uploads.try_acquire();
        let _turn = turn.map_err(|_| PackageError::Busy { max })?;
        self.check_total(new.size.unwrap_or(1), None)?;
        self.check_disk(new.size.unwrap_or(0)).await?;
        let (receiving, file) = self.receive(body).await?;
        if file.size == 0 {
            return Err(invalid("body", "is empty, takes the bytes of the package"));
        }
        record.file = Some(file);
        if let Some(signature) = &new.signature {
            record.signed_by = Some(self.signer_of(file.sha256, signature)?);
        }
        self.keep(new, record, receiving, file).await
    }

    /// The record as the caller describes it, without a file.
    fn draft_of(&self, new: &NewUpload) -> Result<PackageRecord, PackageError> {
        let product = self.product_in(&new.product_id, None)?;
        Ok(PackageRecord {
            version: 1,
            package_id: fresh_id()?,
            seq: 0,
            app_id: product.record.app_id.clone(),
            package_type: new.package_type,
            product_id: new.product_id.clone(),
            module_name: new.module_name.clone(),
            package_version: new.package_version.clone(),
            support_source_versions: new.support_source_versions.clone().unwrap_or_default(),
            description: new.description.clone(),
            custom_info: new.custom_info.clone(),
            file_location: None,
            file: None,
            file_name: new.file_name.clone(),
            signed_by: None,
            fragment_size: rules::fragment_size(new.package_type, new.fragment_size)?,
            created_at: self.parts.clock.now(),
        })
    }

    /// Names the key that signed the file.
    fn signer_of(&self, file: FileHash, signature: &[u8; 64]) -> Result<String, PackageError> {
        let signer = signature::signer(&self.keys, file, signature);
        let signer = signer.ok_or_else(|| {
            let problem = format!(
                "none of the keys in packages.keys signed the file with SHA-256 {file}; what is \
                 signed is \"strait package v1\", a line feed and these 64 digits"
            );
            invalid("signature", problem)
        })?;
        Ok(signer.name().to_owned())
    }

    /// Keeps what was received, one upload at a time.
    async fn keep(
        &self,
        new: NewUpload,
        draft: PackageRecord,
        receiving: Receiving,
        file: PackageFile,
    ) -> Result<Uploaded, PackageError> {
        let _turn = self.changing.lock().await;
        let name = self.name_of(&draft)?;
        let known = name.package_id.as_ref();
        let known = known.and_then(|id| self.held().by_id.get(id).map(Arc::clone));
        self.check_file(&draft, &name)?;
        let record = match known {
            None => {
                self.check_room()?;
                PackageRecord {
                    seq: self.parts.store.allocate_seq()?,
                    ..draft
                }
            }
            Some(known) if known.file.is_some() => {
                check_same(&known, &new, &draft)?;
                // Written anew: the one on disk may be damaged.
                self.shelve(receiving, file).await?;
                return Ok(Uploaded {
                    package: known,
                    is_new: false,
                });
            }
            Some(known) => completed(&known, &new, draft, file)?,
        };
        self.check_total(file.size, Some(file.sha256))?;
        self.shelve(receiving, file).await?;
        match self.put(record, name).await {
            Ok(package) => Ok(Uploaded {
                package,
                is_new: true,
            }),
            Err(error) => {
                self.drop_file(file.sha256).await;
                Err(error)
            }
        }
    }

    async fn shelve(&self, receiving: Receiving, file: PackageFile) -> Result<(), PackageError> {
        blocking(move || receiving.finish()).await?;
        self.shelf.forget(file.sha256);
        Ok(())
    }

    /// Writes the body to disk.
    async fn receive(&self, mut body: Body) -> Result<(Receiving, PackageFile), PackageError> {
        let (pieces, waiting) = mpsc::channel::<Bytes>(PIECES);
        let files = self.parts.files.clone();
        let writing = tokio::task::spawn_blocking(move || write(&files, waiting));
        let mut size = 0_u64;
        let mut broken = None;
        while let Some(piece) = body.next().await {
            match piece {
                Ok(piece) => {
                    size = size.saturating_add(piece.len() as u64);
                    broken = self.check_size_so_far(size).err();
                    // A closed channel: the disk failed, which the result says.
                    if broken.is_some() || pieces.send(piece).await.is_err() {
                        break;
                    }
                }
                Err(error) => broken = Some(error),
            }
            if broken.is_some() {
                break;
            }
        }
        drop(pieces);
        let written = writing.await;
        if let Some(error) = broken {
            return Err(error);
        }
        match written {
            Ok(written) => Ok(written?),
            Err(e) => Err(PackageError::Broken(format!("the upload ended early: {e}"))),
        }
    }

    fn check_size_so_far(&self, size: u64) -> Result<(), PackageError> {
        self.check_size(Some(size))
            .map_err(|_| PackageError::TooLarge {
                size: None,
                max: self.size_max(),
            })
    }

    const fn size_max(&self) -> u64 {
        self.parts.settings.size_max_mb.saturating_mul(1024 * 1024)
    }

    fn check_size(&self, size: Option<u64>) -> Result<(), PackageError> {
        let max = self.size_max();
        match size.is_some_and(|size| size > max) {
            true => Err(PackageError::TooLarge { size, max }),
            false => Ok(()),
        }
    }

    /// Room for a package that is not there yet.
    fn check_room_of_new(&self, record: &PackageRecord) -> Result<(), PackageError> {
        match self.name_of(record)?.package_id {
            Some(_) => Ok(()),
            None => self.check_room(),
        }
    }

    /// Whether all files together stay within their bound.
    fn check_total(&self, size: u64, hash: Option<FileHash>) -> Result<(), PackageError> {
        let max = self.parts.settings.total_max_mb.saturating_mul(1024 * 1024);
        let held = self.held();
        let files = held.by_id.values().filter_map(|package| package.file);
        let sizes: hashbrown::HashMap<_, _> = files.map(|f| (f.sha256, f.size)).collect();
        drop(held);
        if hash.is_some_and(|hash| sizes.contains_key(&hash)) {
            return Ok(());
        }
        let used: u64 = sizes.values().sum();
        if used.saturating_add(size) <= max {
            return Ok(());
        }
        Err(PackageError::Full {
            what: "the files of packages",
            problem: format!(
                "have {used} bytes, with {size} more they would exceed {max} \
                 (packages.total_max_mb); delete some"
            ),
        })
    }

    /// Whether the disk has room for a file, and as much again for everything else.
    async fn check_disk(&self, size: u64) -> Result<(), PackageError> {
        let files = self.parts.files.clone();
        let free = blocking(move || files.free_bytes()).await?;
        if free > size.saturating_mul(2) {
            return Ok(());
        }
        let need = size.saturating_mul(2);
        Err(crate::store::StoreError::Full { free, need }.into())
    }
}

/// Something of the disk, on a thread that may wait for it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FilesError> + Send + 'static,
) -> Result<T, PackageError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(e) => Err(PackageError::Broken(format!("the upload ended early: {e}"))),
    }
}

fn write(
    files: &PackageFiles,
    mut pieces: mpsc::Receiver<Bytes>,
) -> Result<(Receiving, PackageFile), FilesError> {
    let mut receiving = files.receive()?;
    while let Some(piece) = pieces.blocking_recv() {
        receiving.write(&piece)?;
    }
    let file = receiving.seal()?;
    Ok((receiving, file))
}

/// Whether an upload says nothing else than the package that it would make again.
fn check_same(
    known: &PackageRecord,
    new: &NewUpload,
    draft: &PackageRecord,
) -> Result<(), PackageError> {
    let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
    let sources = |list: &[String]| match list.is_empty() {
        true => "none".to_owned(),
        false => list.join(","),
    };
    let (old, asked) = (known, draft);
    let fields = [
        (
            "fragment_size",
            new.fragment_size.is_some(),
            old.fragment_size.to_string(),
            asked.fragment_size.to_string(),
        ),
        (
            "support_source_versions",
            new.support_source_versions.is_some(),
            sources(&old.support_source_versions),
            sources(&asked.support_source_versions),
        ),
        (
            "module_name",
            new.module_name.is_some(),
            shown(&old.module_name),
            shown(&asked.module_name),
        ),
        (
            "description",
            new.description.is_some(),
            shown(&old.description),
            shown(&asked.description),
        ),
        (
            "custom_info",
            new.custom_info.is_some(),
            shown(&old.custom_info),
            shown(&asked.custom_info),
        ),
    ];
    for (field, is_given, has, got) in fields {
        if is_given && has != got {
            return Err(PackageError::Differs {
                field,
                package_id: known.package_id.clone(),
                has,
                got,
            });
        }
    }
    Ok(())
}

/// A package that was made without a file, with it.
fn completed(
    known: &PackageRecord,
    new: &NewUpload,
    draft: PackageRecord,
    file: PackageFile,
) -> Result<PackageRecord, PackageError> {
    if let Some(wanted) = announced(known).filter(|wanted| *wanted != file.sha256) {
        let problem = format!(
            "has SHA-256 {}, package {} was made for {wanted} (file_location.obs_location.sign)",
            file.sha256, known.package_id
        );
        return Err(invalid("body", problem));
    }
    let given = |new: Option<String>, old: &Option<String>| new.or_else(|| old.clone());
    Ok(PackageRecord {
        version: known.version.saturating_add(1),
        module_name: given(draft.module_name, &known.module_name),
        description: given(draft.description, &known.description),
        custom_info: given(draft.custom_info, &known.custom_info),
        support_source_versions: match &new.support_source_versions {
            Some(given) => given.clone(),
            None => known.support_source_versions.clone(),
        },
        file: Some(file),
        file_name: draft.file_name,
        signed_by: draft.signed_by,
        fragment_size: draft.fragment_size,
        ..known.clone()
    })
}

/// The hash that whoever made the package without a file said it would have.
fn announced(known: &PackageRecord) -> Option<FileHash> {
    let location = known.file_location.as_ref()?.get("obs_location")?;
    let sign = location.get("sign")?.as_str()?;
    FileHash::parse(&sign.to_ascii_lowercase())
}
