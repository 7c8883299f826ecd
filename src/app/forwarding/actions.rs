//! Actions of rules: where the events of a rule are pushed over HTTP.
//!
//! The key of the signature (`token`) comes in and never goes out again.

use std::sync::Arc;

use super::address::{Address, name_of};
use super::error::invalid;
use super::{ACTIONS_PER_RULE_MAX, Edit, Forwarding, ForwardingError, Snapshot};
use super::{check_room, fresh_id};
use crate::base::ids::{ActionId, PushCertificateId, RuleId};
use crate::base::secret::Secret;
use crate::store::forwarding::{ActionRecord, ForwardingRecord, HttpRecord};

/// An action to create. Formats and lengths were checked by the caller.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAction {
    pub rule_id: RuleId,
    pub http: HttpPatch,
}

/// What to set of an action: what is absent stays, or has its default. What can be taken away is absent
/// in its turn.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HttpPatch {
    pub url: Option<String>,
    pub cert_id: Option<Option<PushCertificateId>>,
    pub cn_name: Option<Option<String>>,
    pub sni_enable: Option<bool>,
    pub signature_enable: Option<bool>,
    pub token: Option<Secret<String>>,
    pub tls_verify: Option<bool>,
}

impl Forwarding {
    /// Creates an action of a rule.
    pub async fn create_action(
        self: &Arc<Self>,
        new: NewAction,
    ) -> Result<ActionRecord, ForwardingError> {
        self.change("action create", move |this, now| {
            now.rule(&new.rule_id)?;
            let http = http_of(blank(), new.http, now)?;
            let count = now.actions_of(&new.rule_id).count();
            check_room(count, ACTIONS_PER_RULE_MAX, "rule_id", "actions")?;
            let at = this.parts.clock.now();
            let action = ActionRecord {
                version: 1,
                action_id: fresh_id(ActionId::parse)?,
                seq: this.next_seq()?,
                rule_id: new.rule_id,
                http,
                created_at: at,
                modified_at: at,
            };
            Ok(Edit::put(action.clone(), ForwardingRecord::Action(action)))
        })
        .await
    }

    /// Changes what `patch` names; nothing happens when all is as it was.
    pub async fn update_action(
        self: &Arc<Self>,
        id: ActionId,
        patch: HttpPatch,
    ) -> Result<ActionRecord, ForwardingError> {
        self.change("action update", move |this, now| {
            let old = now.action(&id)?;
            let http = http_of(old.http.clone(), patch, now)?;
            if http == old.http {
                return Ok(Edit::none(old.clone()));
            }
            let action = ActionRecord {
                version: old.version.saturating_add(1),
                http,
                modified_at: this.parts.clock.now(),
                ..old.clone()
            };
            Ok(Edit::put(action.clone(), ForwardingRecord::Action(action)))
        })
        .await
    }

    pub async fn delete_action(self: &Arc<Self>, id: ActionId) -> Result<(), ForwardingError> {
        self.change("action delete", move |_, now| {
            let old = now.action(&id)?.clone();
            Ok(Edit::delete(&ForwardingRecord::Action(old)))
        })
        .await
    }
}

/// An action before anything is said of it.
const fn blank() -> HttpRecord {
    HttpRecord {
        url: String::new(),
        cert_id: None,
        cn_name: None,
        sni_enable: false,
        signature_enable: false,
        token: None,
        tls_verify: true,
    }
}

/// What becomes of `old` by `patch`.
fn http_of(
    old: HttpRecord,
    patch: HttpPatch,
    now: &Snapshot,
) -> Result<HttpRecord, ForwardingError> {
    const URL: &str = "channel_detail.http_forwarding.url";
    const CERT: &str = "channel_detail.http_forwarding.cert_id";
    const NAME: &str = "channel_detail.http_forwarding.cn_name";
    const TOKEN: &str = "channel_detail.http_forwarding.token";
    let cn_name = match patch.cn_name {
        None => old.cn_name,
        Some(None) => None,
        Some(Some(text)) => match name_of(&text) {
            Some(name) => Some(name.to_owned()),
            None => {
                let problem = "is no host name, takes letters, digits, - and _ with dots between \
                               them; a port behind it is left out";
                return Err(invalid(NAME, problem));
            }
        },
    };
    let http = HttpRecord {
        url: patch.url.unwrap_or(old.url),
        cert_id: patch.cert_id.unwrap_or(old.cert_id),
        cn_name,
        sni_enable: patch.sni_enable.unwrap_or(old.sni_enable),
        signature_enable: patch.signature_enable.unwrap_or(old.signature_enable),
        token: patch.token.or(old.token),
        tls_verify: patch.tls_verify.unwrap_or(old.tls_verify),
    };
    let address = Address::read(&http.url).map_err(|problem| invalid(URL, problem))?;
    if let Some(id) = &http.cert_id {
        if now.certificate(id).is_err() {
            let problem = format!("there is no certificate {id}, takes one that was uploaded");
            return Err(invalid(CERT, problem));
        }
        if !address.is_secured {
            let problem = "is of no use with an http URL, takes none; an empty text takes it away";
            return Err(invalid(CERT, problem));
        }
    }
    if http.signature_enable && http.token.is_none() {
        let problem = "is missing, takes 3 to 32 letters and digits when signature_enable is true";
        return Err(invalid(TOKEN, problem));
    }
    Ok(http)
}
