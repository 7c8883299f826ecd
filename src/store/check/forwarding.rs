//! Rules, actions, policies and the rest of forwarding: each row lies under its own key, and what it
//! belongs to is there. Without the sealing key only its head is read.

use super::Walk;
use crate::store::catalog::VersionHead;
use crate::store::forwarding::{ForwardingKey, ForwardingRecord};
use crate::store::kv::Kv;
use crate::store::{StoreError, keys, rows, sealed};

impl<E: Kv> Walk<'_, E> {
    pub(super) fn forwarding(&mut self, key: &[u8], row: &[u8]) -> Result<(), StoreError> {
        let Some(sealer) = self.sealer else {
            self.record_with::<VersionHead>(key, row, &|whole| {
                rows::split_sealed(whole).and_then(|_| rows::decode_beside(whole))
            })?;
            return Ok(());
        };
        let read = |whole: &[u8]| {
            let head: VersionHead = rows::decode_beside(whole)?;
            Ok((head, sealed::decode_forwarding(key, whole, sealer)?))
        };
        let found = self.record_with::<(VersionHead, ForwardingRecord)>(key, row, &read)?;
        let Some((head, record)) = found else {
            return Ok(());
        };
        self.lies_under(key, &keys::forwarding(&record.key()));
        if record.version() != head.version {
            let (got, want) = (record.version(), head.version);
            self.mistake(key, format!("holds version {got}, its head says {want}"));
        }
        match record {
            ForwardingRecord::Rule(rule) => match rule.app_id {
                Some(app) => self.in_app(key, &app),
                None => Ok(()),
            },
            ForwardingRecord::Action(action) => {
                self.refers_to(key, &ForwardingKey::Rule(action.rule_id))?;
                match action.http.cert_id {
                    Some(id) => self.refers_to(key, &ForwardingKey::Certificate(id)),
                    None => Ok(()),
                }
            }
            ForwardingRecord::Backlog(_)
            | ForwardingRecord::Flow(_)
            | ForwardingRecord::Queue(_)
            | ForwardingRecord::Access(_)
            | ForwardingRecord::Certificate(_) => Ok(()),
        }
    }

    fn refers_to(&mut self, key: &[u8], other: &ForwardingKey) -> Result<(), StoreError> {
        let other = keys::forwarding(other);
        if self.engine.get(&other)?.is_none() {
            self.mistake(key, format!("there is no row {}", keys::show(&other)));
        }
        Ok(())
    }
}
