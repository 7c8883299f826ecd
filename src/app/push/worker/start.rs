//! Where an action begins: with the first event of its rule's activation, or where it was when the
//! server stopped.

use crate::base::time::Timestamp;
use crate::store::forwarding::{SetAsideKey, SetAsideQuery};
use crate::store::{Store, StoreError};

/// Events of shards overtake one another by so many at most.
const OVERTAKEN_MAX: usize = 256;

/// Rows of one look into what is set aside.
const PAGE: usize = 512;

/// The position behind which all events of `since` and later are.
pub(super) fn position_at(store: &dyn Store, since: Timestamp) -> Result<u64, StoreError> {
    let (mut low, mut high) = (0, store.last_event());
    while low < high {
        let middle = low + (high - low) / 2;
        match store.events(middle, 1)?.first() {
            Some((position, event)) if event.at < since => low = *position,
            Some(_) | None => high = middle,
        }
    }
    let back = u64::try_from(OVERTAKEN_MAX).unwrap_or(u64::MAX);
    let near = store.events(low.saturating_sub(back), OVERTAKEN_MAX)?;
    let first = near.iter().find(|(_, event)| event.at >= since);
    Ok(first.map_or(low, |(position, _)| low.min(position.saturating_sub(1))))
}

/// How many pushes of an action are set aside.
pub(super) fn count_set_aside(store: &dyn Store, action_seq: u64) -> Result<u64, StoreError> {
    let mut count = 0_u64;
    let mut after: Option<SetAsideKey> = None;
    loop {
        let page = store.set_aside(&SetAsideQuery {
            action_seq,
            after,
            before: None,
            oldest_first: true,
            limit: PAGE,
        })?;
        count = count.saturating_add(u64::try_from(page.len()).unwrap_or(u64::MAX));
        after = page.last().map(|row| row.key());
        if page.len() < PAGE {
            return Ok(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;
    use crate::store::records::EventRecord;
    use crate::store::{Change, Commit, Expiry};

    #[tokio::test]
    async fn an_action_begins_with_the_events_of_its_time() {
        let store = MemoryStore::new();
        // Times as shards commit them, nearly in order: position 5 is older than 4.
        let times = [10, 20, 30, 50, 40, 60, 60, 70];
        for ms in times {
            let event = EventRecord {
                at: Timestamp::from_ms(ms),
                envelopes: Vec::new(),
            };
            let changes = vec![Change::Emit(Box::new(event))];
            let guards = Vec::new();
            store.commit(Commit { guards, changes }).await.unwrap();
        }
        let at = |ms| position_at(&store, Timestamp::from_ms(ms)).unwrap();
        let got: Vec<u64> = [0, 10, 11, 35, 45, 60, 70, 71].map(at).to_vec();
        assert_eq!(got, [0, 0, 1, 3, 3, 5, 7, 8]);
        let old = Timestamp::from_ms(35);
        let none = Timestamp::from_ms(0);
        let expiry = Expiry {
            history_before: none,
            raw_before: none,
            events_before: old,
            audit_before: none,
            commands_before: none,
        };
        while store.expire(&expiry, 100).unwrap() > 0 {}
        let at = |ms| position_at(&store, Timestamp::from_ms(ms)).unwrap();
        let got: Vec<u64> = [60, 70, 71].map(at).to_vec();
        assert_eq!(got, [5, 7, 8]);
        assert!(at(0) <= 3, "all that is left");
    }
}
