//! CA certificates that subscribers' certificates are checked with: one or more in PEM (RFC 7468), kept
//! as they came. One that is there already, certificate by certificate, keeps its id.

use std::sync::Arc;

use super::error::invalid;
use super::{CERTIFICATES_MAX, Edit, Forwarding, ForwardingError, check_room, fresh_id};
use crate::app::certificate::{CaFacts, CertificateError, pems_of};
use crate::base::ids::PushCertificateId;
use crate::base::time::Timestamp;
use crate::store::forwarding::{ForwardingRecord, PushCertificateRecord};

/// Certificates in one body: a CA, those above it, and the next one of each.
pub const BUNDLE_MAX: usize = 10;

/// Actions that a refusal names.
const NAMED_MAX: usize = 10;

impl Forwarding {
    /// Takes certificates of CAs; `true`: they were not there before.
    pub async fn add_certificate(
        self: &Arc<Self>,
        content: String,
    ) -> Result<(PushCertificateRecord, bool), ForwardingError> {
        self.change("push certificate create", move |this, now| {
            let at = this.parts.clock.now();
            let bundle = Bundle::read(&content, at)?;
            let is_same = |one: &&PushCertificateRecord| der_of(&one.content) == bundle.der;
            if let Some(known) = now.certificates.iter().find(is_same) {
                return Ok(Edit::none((known.clone(), false)));
            }
            check_room(
                now.certificates.len(),
                CERTIFICATES_MAX,
                "server",
                "push certificates",
            )?;
            let certificate = PushCertificateRecord {
                version: 1,
                cert_id: fresh_id(PushCertificateId::parse)?,
                seq: this.next_seq()?,
                cn_name: bundle.cn_name,
                content,
                created_at: at,
                effective_at: bundle.effective_at,
                expires_at: bundle.expires_at,
            };
            let record = ForwardingRecord::Certificate(certificate.clone());
            Ok(Edit::put((certificate, true), record))
        })
        .await
    }

    /// Deletes a certificate that no action names.
    pub async fn delete_certificate(
        self: &Arc<Self>,
        id: PushCertificateId,
    ) -> Result<(), ForwardingError> {
        self.change("push certificate delete", move |_, now| {
            let old = now.certificate(&id)?.clone();
            let users = now.actions.iter();
            let users = users.filter(|action| action.http.cert_id.as_ref() == Some(&id));
            let users: Vec<&str> = users.map(|action| action.action_id.as_str()).collect();
            if users.is_empty() {
                return Ok(Edit::delete(&ForwardingRecord::Certificate(old)));
            }
            let (named, others) = users.split_at(users.len().min(NAMED_MAX));
            let mut actions = named.join(", ");
            if !others.is_empty() {
                actions.push_str(&format!(" and {} more", others.len()));
            }
            Err(ForwardingError::CertificateUsed { id, actions })
        })
        .await
    }
}

/// What the certificates of one body say together.
struct Bundle {
    der: Vec<Vec<u8>>,
    /// Of the first.
    cn_name: Option<String>,
    /// When all of them are valid.
    effective_at: Timestamp,
    expires_at: Timestamp,
}

impl Bundle {
    fn read(content: &str, now: Timestamp) -> Result<Self, ForwardingError> {
        const FIELD: &str = "body";
        let pems = pems_of(FIELD, content, BUNDLE_MAX).map_err(problem_of)?;
        let mut bundle: Option<Self> = None;
        for pem in &pems {
            let facts = CaFacts::read(FIELD, pem, now).map_err(problem_of)?;
            let whole = bundle.get_or_insert_with(|| Self {
                der: Vec::new(),
                cn_name: facts.cn_name,
                effective_at: facts.effective_at,
                expires_at: facts.expires_at,
            });
            whole.effective_at = whole.effective_at.max(facts.effective_at);
            whole.expires_at = whole.expires_at.min(facts.expires_at);
            whole.der.push(pem.contents.clone());
        }
        bundle.ok_or_else(|| invalid(FIELD, "got 0 PEM certificates"))
    }
}

fn der_of(content: &str) -> Vec<Vec<u8>> {
    let pems = pems_of("body", content, BUNDLE_MAX).unwrap_or_default();
    pems.into_iter().map(|pem| pem.contents).collect()
}

fn problem_of(error: CertificateError) -> ForwardingError {
    match error {
        CertificateError::Invalid { field, problem } => invalid(field, problem),
        other => invalid("body", other.to_string()),
    }
}
