//! Queues of the AMQP face, and the access codes of its clients.

use std::sync::Arc;

use super::{Edit, Forwarding, ForwardingError, QUEUES_MAX, check_room, fresh_id};
use crate::app::random::random_word;
use crate::base::ids::{AccessKey, QueueId};
use crate::base::secret::Secret;
use crate::store::forwarding::{
    AccessKind, AccessRecord, ForwardingKey, ForwardingRecord, QueueRecord,
};
use crate::store::{Change, StoreError};

/// Characters of an access key, as the v5 API has them.
const KEY_LEN: usize = 8;

/// Characters of an access code: 190 bits.
const CODE_LEN: usize = 32;

impl Forwarding {
    /// Creates a queue, whose name none has.
    pub async fn create_queue(
        self: &Arc<Self>,
        name: String,
    ) -> Result<QueueRecord, ForwardingError> {
        self.change("queue create", move |this, now| {
            if now.queues.iter().any(|queue| queue.queue_name == name) {
                return Err(ForwardingError::QueueExists(name));
            }
            check_room(now.queues.len(), QUEUES_MAX, "server", "queues")?;
            let at = this.parts.clock.now();
            let queue = QueueRecord {
                version: 1,
                queue_id: fresh_id(QueueId::parse)?,
                seq: this.next_seq()?,
                queue_name: name,
                created_at: at,
                modified_at: at,
            };
            Ok(Edit::put(queue.clone(), ForwardingRecord::Queue(queue)))
        })
        .await
    }

    pub async fn delete_queue(self: &Arc<Self>, id: QueueId) -> Result<(), ForwardingError> {
        self.change("queue delete", move |_, now| {
            let old = now.queue(&id)?.clone();
            Ok(Edit::delete(&ForwardingRecord::Queue(old)))
        })
        .await
    }

    /// A new pair for clients of this kind; the one before is not valid any more.
    pub async fn create_access(
        self: &Arc<Self>,
        kind: AccessKind,
    ) -> Result<AccessRecord, ForwardingError> {
        self.change("access code create", move |this, now| {
            let key = random_word(KEY_LEN)?;
            let access = AccessRecord {
                version: 1,
                kind,
                access_key: AccessKey::parse(&key)
                    .map_err(|e| StoreError::Io(format!("a new access key {e}")))?,
                access_code: Secret::new(random_word(CODE_LEN)?),
                created_at: this.parts.clock.now(),
            };
            let mut edit = Edit::put(access.clone(), ForwardingRecord::Access(access));
            let old = now.accesses.iter().filter(|one| one.kind == kind);
            let old = old.map(|one| ForwardingKey::Access(one.access_key.clone()));
            edit.changes.extend(old.map(Change::DeleteForwarding));
            Ok(edit)
        })
        .await
    }
}
