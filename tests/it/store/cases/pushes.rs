//! How far pushes have come, and those that were set aside.

use strait::base::ids::DeviceId;
use strait::base::time::Timestamp;
use strait::store::forwarding::{DeliveryRecord, SetAsideKey, SetAsideQuery, SetAsideRecord};
use strait::store::records::EnvelopeRecord;
use strait::store::{Change, Store};

use crate::store::Engine;
use crate::store::records::*;

fn aside(position: u64, index: u32, reason: &str) -> SetAsideRecord {
    SetAsideRecord {
        at: Timestamp::from_ms(position),
        position,
        index,
        tries: 10,
        reason: reason.to_owned(),
        envelope: EnvelopeRecord {
            resource: "device.property".to_owned(),
            event: "report".to_owned(),
            device_id: Some(DeviceId::parse("d").unwrap()),
            json: "{}".to_owned(),
            app_id: None,
        },
    }
}

/// Each action has its own rows, in order of the events, also after the store was opened anew.
pub(crate) fn progress_of_pushes_and_what_is_set_aside<E: Engine>(engine: &E) {
    let store = engine.open();
    let progress = |position| DeliveryRecord {
        position,
        outstanding: (1..=position).collect(),
        dropped: 1,
        delivered: 2,
        failed: 3,
        set_aside: 4,
        active: true,
    };
    let put = |action_seq, record| {
        let record = Box::new(record);
        Change::PutDelivery { action_seq, record }
    };
    let put_aside = |action_seq, record| {
        let record = Box::new(record);
        Change::PutSetAside { action_seq, record }
    };
    let long = "x".repeat(9000);
    let changes = vec![
        put(7, progress(9)),
        put(256, progress(1)),
        put_aside(7, aside(300, 0, "500")),
        put_aside(7, aside(2, 1, "404")),
        put_aside(7, aside(2, 0, &long)),
        put_aside(8, aside(1, 0, "403")),
    ];
    write(&store, changes);
    write(&store, vec![put(256, progress(4096))]);
    drop(store);
    let store = engine.open();
    let deliveries = store.deliveries().unwrap();
    assert_eq!(deliveries, [(7, progress(9)), (256, progress(4096))]);
    let query = SetAsideQuery {
        action_seq: 7,
        after: None,
        before: None,
        oldest_first: true,
        limit: 2,
    };
    let found = store.set_aside(&query).unwrap();
    assert_eq!(found, [aside(2, 0, &long), aside(2, 1, "404")]);
    let newest = SetAsideQuery {
        oldest_first: false,
        ..query
    };
    let found = store.set_aside(&newest).unwrap();
    assert_eq!(found, [aside(300, 0, "500"), aside(2, 1, "404")]);
    let before = Some(found[1].key());
    let found = store
        .set_aside(&SetAsideQuery { before, ..newest })
        .unwrap();
    assert_eq!(found, [aside(2, 0, &long)]);

    let after = Some(aside(2, 0, "").key());
    let between = SetAsideQuery {
        after,
        before,
        ..query
    };
    assert_eq!(store.set_aside(&between).unwrap(), []);
    let found = store.set_aside(&SetAsideQuery { after, ..query }).unwrap();
    assert_eq!(found, [aside(2, 1, "404"), aside(300, 0, "500")]);

    let (position, index) = (2, 0);
    let key = SetAsideKey { position, index };
    let changes = vec![
        Change::DeleteSetAside { action_seq: 7, key },
        Change::DeleteDelivery { action_seq: 256 },
    ];
    write(&store, changes);
    let found = store.set_aside(&query).unwrap();
    assert_eq!(found, [aside(2, 1, "404"), aside(300, 0, "500")]);
    assert_eq!(store.deliveries().unwrap(), [(7, progress(9))]);
    let other = SetAsideQuery {
        action_seq: 8,
        ..query
    };
    assert_eq!(store.set_aside(&other).unwrap(), [aside(1, 0, "403")]);
    assert_eq!(engine.parts(&store), 0);
}
