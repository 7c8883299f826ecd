//! CA certificates that sign devices' certificates: kept for an owner who proves that he has the
//! key, by a certificate that the CA signed for the verification code.
//!
//! One PEM certificate each (RFC 7468, RFC 5280), of a CA by its basic constraints. At most
//! [`CERTIFICATES_MAX`] in a resource space. The store is the truth, nothing is in memory.

use std::sync::Arc;

use tokio::sync::Semaphore;
use x509_parser::certificate::X509Certificate;
use x509_parser::pem::Pem;
use x509_parser::time::ASN1Time;

use super::random::random_hex;
use super::space::{SpaceError, Spaces};
use super::tasks::Tasks;
use crate::base::ids::{AppId, CertificateId};
use crate::base::time::{Clock, Timestamp};
use crate::store::catalog::CertificateRecord;
use crate::store::{Change, Commit, CommitError, Guard, Store, StoreError};

/// Certificates of one resource space.
pub const CERTIFICATES_MAX: usize = 100;
/// Bytes of a PEM certificate: one of a CA has under 4 KB.
pub const CONTENT_MAX: usize = 16 * 1024;
/// Tries of a change that others overtake.
const TRIES: usize = 5;

/// Why a certificate could not be read or changed. Fields name what the caller sent.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    #[error("certificate_id: there is no certificate {0}")]
    NotFound(CertificateId),
    #[error("content: the resource space {0} has this certificate already")]
    Exists(AppId),
    #[error("app_id: the resource space {0} has {max} certificates, delete one first",
        max = CERTIFICATES_MAX)]
    TooMany(AppId),
    #[error("{field}: {problem}")]
    Invalid {
        field: &'static str,
        problem: String,
    },
    /// Others changed the same certificate again and again.
    #[error("the certificate is being changed by others, try again")]
    Contended,
    #[error(transparent)]
    Space(#[from] SpaceError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CertificateError {
    /// Stable word for logs and metrics; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not_found",
            Self::Exists(_) => "exists",
            Self::TooMany(_) => "too_many",
            Self::Invalid { .. } => "invalid",
            Self::Contended => "contended",
            Self::Space(e) => e.kind(),
            Self::Store(e) => e.kind(),
        }
    }
}

fn invalid(field: &'static str, problem: impl Into<String>) -> CertificateError {
    CertificateError::Invalid {
        field,
        problem: problem.into(),
    }
}

/// What [`Certificates`] works with.
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub tasks: Tasks,
    pub spaces: Arc<Spaces>,
}

/// The CA certificates of one server.
pub struct Certificates {
    parts: Parts,
    /// One is added at a time, so that the bound of a space holds.
    adding: Semaphore,
}

/// What to change of a certificate: what is absent stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CertificatePatch {
    pub provision_enable: Option<bool>,
    pub template_id: Option<String>,
    pub ocsp_enable: Option<bool>,
    pub ocsp_ssl_enable: Option<bool>,
    pub ocsp_server_ca_id: Option<String>,
}

impl Certificates {
    pub const fn new(parts: Parts) -> Self {
        Self {
            parts,
            adding: Semaphore::const_new(1),
        }
    }

    /// Those of spaces that are there, newest first.
    pub fn list(&self) -> Result<Vec<CertificateRecord>, StoreError> {
        let mut all = self.parts.store.certificates()?;
        all.retain(|one| self.parts.spaces.show(&one.app_id).is_ok());
        Ok(all)
    }

    /// The certificate as it is now.
    pub fn show(&self, id: &CertificateId) -> Result<CertificateRecord, CertificateError> {
        let found = self.list()?.into_iter().find(|c| c.certificate_id == *id);
        found.ok_or_else(|| CertificateError::NotFound(id.clone()))
    }

    /// Takes the certificate of a CA, not verified yet.
    pub async fn add(
        self: &Arc<Self>,
        app_id: AppId,
        content: String,
    ) -> Result<CertificateRecord, CertificateError> {
        let this = Arc::clone(self);
        self.finish("certificate create", async move {
            this.add_now(app_id, content).await
        })
        .await
    }

    async fn add_now(
        &self,
        app_id: AppId,
        content: String,
    ) -> Result<CertificateRecord, CertificateError> {
        self.parts.spaces.check(&app_id)?;
        let now = self.parts.clock.now();
        let pem = pem_of("content", &content)?;
        let facts = CaFacts::read("content", &pem, now)?;
        // Closed never happens: the semaphore lives as long as the service.
        let turn = self.adding.acquire().await.ok();
        let all = self.parts.store.certificates()?.into_iter();
        let own: Vec<_> = all.filter(|one| one.app_id == app_id).collect();
        let same = |one: &CertificateRecord| der_of(&one.content).as_ref() == Some(&pem.contents);
        if own.iter().any(same) {
            return Err(CertificateError::Exists(app_id));
        }
        if own.len() >= CERTIFICATES_MAX {
            return Err(CertificateError::TooMany(app_id));
        }
        let id = random_hex::<12>()?;
        let id = CertificateId::parse(&id).map_err(|e| invalid("certificate_id", e.to_string()))?;
        let record = CertificateRecord {
            version: 1,
            certificate_id: id.clone(),
            seq: self.parts.store.allocate_seq()?,
            app_id: app_id.clone(),
            cn_name: facts.cn_name,
            owner: facts.owner,
            verified: false,
            verify_code: random_hex::<16>()?,
            provision_enable: false,
            template_id: None,
            ocsp_enable: false,
            ocsp_ssl_enable: false,
            ocsp_server_ca_id: None,
            content,
            created_at: now,
            effective_at: facts.effective_at,
            expires_at: facts.expires_at,
        };
        let commit = Commit {
            guards: vec![
                Guard::AppExists(app_id.clone()),
                Guard::CertificateVersion(id, 0),
            ],
            changes: vec![Change::PutCertificate(Box::new(record.clone()))],
        };
        let done = self.parts.store.commit(commit).await;
        drop(turn);
        match done {
            Ok(()) => Ok(record),
            Err(CommitError::Conflict(Guard::AppExists(_))) => {
                Err(SpaceError::Unknown(app_id).into())
            }
            Err(CommitError::Conflict(_)) => Err(CertificateError::Contended),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }

    /// Changes what `patch` names.
    pub async fn update(
        self: &Arc<Self>,
        id: CertificateId,
        patch: CertificatePatch,
    ) -> Result<CertificateRecord, CertificateError> {
        self.change(id, move |record, _| {
            let CertificatePatch {
                provision_enable,
                template_id,
                ocsp_enable,
                ocsp_ssl_enable,
                ocsp_server_ca_id,
            } = patch.clone();
            record.provision_enable = provision_enable.unwrap_or(record.provision_enable);
            record.template_id = template_id.or_else(|| record.template_id.take());
            record.ocsp_enable = ocsp_enable.unwrap_or(record.ocsp_enable);
            record.ocsp_ssl_enable = ocsp_ssl_enable.unwrap_or(record.ocsp_ssl_enable);
            record.ocsp_server_ca_id =
                ocsp_server_ca_id.or_else(|| record.ocsp_server_ca_id.take());
            Ok(())
        })
        .await
    }

    /// Takes a certificate as proof that its sender has the CA's key: signed by the CA, for the
    /// verification code as its common name.
    pub async fn verify(
        self: &Arc<Self>,
        id: CertificateId,
        proof: String,
    ) -> Result<CertificateRecord, CertificateError> {
        self.change(id, move |record, now| {
            check_proof(record, &proof, now)?;
            record.verified = true;
            Ok(())
        })
        .await
    }

    async fn change(
        self: &Arc<Self>,
        id: CertificateId,
        edit: impl Fn(&mut CertificateRecord, Timestamp) -> Result<(), CertificateError>
        + Send
        + Sync
        + 'static,
    ) -> Result<CertificateRecord, CertificateError> {
        let this = Arc::clone(self);
        self.finish("certificate change", async move {
            for _ in 0..TRIES {
                let old = this.show(&id)?;
                let mut record = old.clone();
                edit(&mut record, this.parts.clock.now())?;
                if record == old {
                    return Ok(record);
                }
                record.version = old.version.saturating_add(1);
                let commit = Commit {
                    guards: vec![Guard::CertificateVersion(id.clone(), old.version)],
                    changes: vec![Change::PutCertificate(Box::new(record.clone()))],
                };
                match this.parts.store.commit(commit).await {
                    Ok(()) => return Ok(record),
                    Err(CommitError::Conflict(_)) => {}
                    Err(CommitError::Store(error)) => return Err(error.into()),
                }
            }
            Err(CertificateError::Contended)
        })
        .await
    }

    /// Deletes a certificate.
    pub async fn delete(self: &Arc<Self>, id: CertificateId) -> Result<(), CertificateError> {
        let this = Arc::clone(self);
        self.finish("certificate delete", async move {
            for _ in 0..TRIES {
                let old = this.show(&id)?;
                let commit = Commit {
                    guards: vec![Guard::CertificateVersion(id.clone(), old.version)],
                    changes: vec![Change::DeleteCertificate(id.clone())],
                };
                match this.parts.store.commit(commit).await {
                    Ok(()) => return Ok(()),
                    Err(CommitError::Conflict(_)) => {}
                    Err(CommitError::Store(error)) => return Err(error.into()),
                }
            }
            Err(CertificateError::Contended)
        })
        .await
    }

    /// Runs a change to its end, also when the caller hangs up.
    async fn finish<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, CertificateError>> + Send + 'static,
    ) -> Result<T, CertificateError> {
        match self.parts.tasks.finish(name, work).await {
            Some(result) => result,
            None => Err(StoreError::Closed.into()),
        }
    }
}

/// What a CA's certificate says.
pub(in crate::app) struct CaFacts {
    pub(in crate::app) cn_name: Option<String>,
    /// The organisation, else the issuer.
    owner: Option<String>,
    pub(in crate::app) effective_at: Timestamp,
    pub(in crate::app) expires_at: Timestamp,
}

impl CaFacts {
    /// Of a certificate that a CA may use now or later. `field` is what a caller knows it by.
    pub(in crate::app) fn read(
        field: &'static str,
        pem: &Pem,
        now: Timestamp,
    ) -> Result<Self, CertificateError> {
        let certificate = certificate_of(field, pem)?;
        if !certificate.is_ca() {
            let problem = "is no CA's certificate, its basic constraints must say CA";
            return Err(invalid(field, problem));
        }
        let (effective_at, expires_at) = validity(&certificate);
        if expires_at < now {
            let problem = format!("expired at {}", expires_at.compact());
            return Err(invalid(field, problem));
        }
        let is_own = certificate.subject() == certificate.issuer();
        if is_own && certificate.verify_signature(None).is_err() {
            let problem = "is self-signed, and the signature does not fit";
            return Err(invalid(field, problem));
        }
        let organization = certificate.subject().iter_organization().next();
        let organization = organization.and_then(|name| name.as_str().ok());
        let issuer = certificate.issuer().iter_common_name().next();
        let issuer = issuer.and_then(|name| name.as_str().ok());
        Ok(Self {
            cn_name: common_name(&certificate),
            owner: organization.or(issuer).map(str::to_owned),
            effective_at,
            expires_at,
        })
    }
}

fn check_proof(
    record: &CertificateRecord,
    proof: &str,
    now: Timestamp,
) -> Result<(), CertificateError> {
    const FIELD: &str = "verify_content";
    let (ca_pem, pem) = (pem_of("content", &record.content)?, pem_of(FIELD, proof)?);
    let ca = certificate_of("content", &ca_pem)?;
    let certificate = certificate_of(FIELD, &pem)?;
    let name = common_name(&certificate).unwrap_or_default();
    if name != record.verify_code {
        let shown: String = name.chars().take(64).collect();
        let problem = format!(
            "got the common name {shown:?}, takes the verification code {}",
            record.verify_code
        );
        return Err(invalid(FIELD, problem));
    }
    if certificate.issuer() != ca.subject() {
        let problem = "is issued by another CA, takes a certificate signed by this one";
        return Err(invalid(FIELD, problem));
    }
    let (from, to) = validity(&certificate);
    if now < from || now > to {
        let problem = format!(
            "is valid from {} to {}, takes one that is valid now",
            from.compact(),
            to.compact()
        );
        return Err(invalid(FIELD, problem));
    }
    let signed = certificate.verify_signature(Some(ca.public_key()));
    signed.map_err(|_| invalid(FIELD, "is not signed with the key of this CA"))
}

/// The one PEM block of a text.
fn pem_of(field: &'static str, content: &str) -> Result<Pem, CertificateError> {
    let pem = pems_of(field, content, 1)?.pop();
    pem.ok_or_else(|| invalid(field, "got 0 PEM certificates, takes one"))
}

/// The PEM blocks of a text: certificates, 1 to `max` of them.
pub(in crate::app) fn pems_of(
    field: &'static str,
    content: &str,
    max: usize,
) -> Result<Vec<Pem>, CertificateError> {
    let bytes_max = CONTENT_MAX.saturating_mul(max);
    if content.len() > bytes_max {
        let problem = format!(
            "got {} bytes, takes up to {bytes_max} of PEM",
            content.len()
        );
        return Err(invalid(field, problem));
    }
    let blocks: Result<Vec<Pem>, _> = Pem::iter_from_buffer(content.as_bytes()).collect();
    let Ok(blocks) = blocks else {
        return Err(invalid(
            field,
            "is no PEM, takes -----BEGIN CERTIFICATE-----",
        ));
    };
    if blocks.is_empty() || blocks.len() > max {
        let takes = match max {
            1 => "one".to_owned(),
            max => format!("1 to {max}"),
        };
        let problem = format!("got {} PEM certificates, takes {takes}", blocks.len());
        return Err(invalid(field, problem));
    }
    match blocks.iter().find(|pem| pem.label != "CERTIFICATE") {
        None => Ok(blocks),
        Some(pem) => {
            let label: String = pem.label.chars().take(40).collect();
            let problem = format!("got a PEM block {label:?}, takes a CERTIFICATE");
            Err(invalid(field, problem))
        }
    }
}

fn der_of(content: &str) -> Option<Vec<u8>> {
    Some(pem_of("content", content).ok()?.contents)
}

fn certificate_of<'a>(
    field: &'static str,
    pem: &'a Pem,
) -> Result<X509Certificate<'a>, CertificateError> {
    let parsed = pem.parse_x509();
    parsed.map_err(|_| invalid(field, "is no X.509 certificate"))
}

fn common_name(certificate: &X509Certificate<'_>) -> Option<String> {
    let name = certificate.subject().iter_common_name().next()?;
    name.as_str().ok().map(str::to_owned)
}

fn validity(certificate: &X509Certificate<'_>) -> (Timestamp, Timestamp) {
    let at = |time: ASN1Time| {
        let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
        Timestamp::from_ms(seconds.saturating_mul(1000))
    };
    let validity = certificate.validity();
    (at(validity.not_before), at(validity.not_after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,200}") {
            drop(pem_of("content", &text));
        }

        #[test]
        fn any_block_is_read_without_panic(text in "[A-Za-z0-9+/]{0,60}") {
            let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
            for pem in pems_of("content", &pem, 2).unwrap_or_default() {
                drop(CaFacts::read("content", &pem, Timestamp::from_ms(0)));
            }
        }
    }
}
