//! Records of forwarding, one of each kind, in short words.

use strait::base::ids::{AccessKey, ActionId, PolicyId, PushCertificateId, QueueId, RuleId};
use strait::base::secret::Secret;
use strait::store::Change;
use strait::store::forwarding::{
    AccessKind, AccessRecord, ActionRecord, BacklogRecord, FlowRecord, FlowScope, ForwardingRecord,
    HttpRecord, PushCertificateRecord, QueueRecord, RuleRecord,
};

use super::records::{app_id, at};

/// What must not be read from the disk.
pub(crate) const TOKEN: &str = "tokentokentoken1";
pub(crate) const CODE: &str = "codecodecodecodecodecodecodecode";

pub(crate) fn put_forwarding(record: ForwardingRecord) -> Change {
    Change::PutForwarding(Box::new(record))
}

pub(crate) fn rule(id: &str, seq: u64) -> ForwardingRecord {
    ForwardingRecord::Rule(RuleRecord {
        version: 1,
        rule_id: RuleId::parse(id).unwrap(),
        seq,
        rule_name: Some("Meters".to_owned()),
        description: None,
        resource: "device.property".to_owned(),
        event: "report".to_owned(),
        app_id: Some(app_id("app")),
        select: None,
        condition: Some("1 = 1".to_owned()),
        active: true,
        created_at: at(seq),
        modified_at: at(seq),
    })
}

/// Of the rule `r`.
pub(crate) fn action(id: &str, seq: u64, cert_id: Option<&str>) -> ForwardingRecord {
    ForwardingRecord::Action(ActionRecord {
        version: 1,
        action_id: ActionId::parse(id).unwrap(),
        seq,
        rule_id: RuleId::parse("r").unwrap(),
        http: HttpRecord {
            url: "https://push.example.org/".to_owned(),
            cert_id: cert_id.map(|id| PushCertificateId::parse(id).unwrap()),
            cn_name: None,
            sni_enable: true,
            signature_enable: true,
            token: Some(Secret::new(TOKEN.to_owned())),
            tls_verify: true,
        },
        created_at: at(seq),
        modified_at: at(seq),
    })
}

pub(crate) fn backlog(id: &str, seq: u64) -> ForwardingRecord {
    ForwardingRecord::Backlog(BacklogRecord {
        version: 1,
        policy_id: PolicyId::parse(id).unwrap(),
        seq,
        policy_name: None,
        description: None,
        backlog_size_bytes: 1000,
        backlog_time_s: 60,
    })
}

pub(crate) fn flow(id: &str, seq: u64) -> ForwardingRecord {
    ForwardingRecord::Flow(FlowRecord {
        version: 1,
        policy_id: PolicyId::parse(id).unwrap(),
        seq,
        policy_name: None,
        description: None,
        scope: FlowScope::Channel,
        scope_value: Some("HTTP_FORWARDING".to_owned()),
        limit_per_s: 10,
    })
}

pub(crate) fn queue(id: &str, seq: u64) -> ForwardingRecord {
    ForwardingRecord::Queue(QueueRecord {
        version: 1,
        queue_id: QueueId::parse(id).unwrap(),
        seq,
        queue_name: format!("queue.{id}"),
        created_at: at(seq),
        modified_at: at(seq),
    })
}

pub(crate) fn access(key: &str) -> ForwardingRecord {
    ForwardingRecord::Access(AccessRecord {
        version: 1,
        kind: AccessKind::Amqp,
        access_key: AccessKey::parse(key).unwrap(),
        access_code: Secret::new(CODE.to_owned()),
        created_at: at(1),
    })
}

pub(crate) fn push_certificate(id: &str, seq: u64) -> ForwardingRecord {
    ForwardingRecord::Certificate(PushCertificateRecord {
        version: 1,
        cert_id: PushCertificateId::parse(id).unwrap(),
        seq,
        cn_name: Some("Subscribers".to_owned()),
        content: "-----BEGIN CERTIFICATE-----".to_owned(),
        created_at: at(seq),
        effective_at: at(1),
        expires_at: at(2),
    })
}
