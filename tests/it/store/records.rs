//! Records and commits in short words.

use std::sync::Arc;

use serde_json::json;
use strait::base::ids::{AppId, DeviceId, NodeId, ProductId};
use strait::base::peer::DeviceSeq;
use strait::base::secret::Secret;
use strait::base::time::Timestamp;
use strait::product::profile::{Profile, Service, ServiceOption};
use strait::product::settings::Settings;
use strait::store::memory::MEMORY_KEY;
use strait::store::records::{
    AuthRecord, AuthType, CodecKind, CodecRecord, DeviceRecord, EnvelopeRecord, EventRecord,
    HistoryRecord, ProductRecord, RawRecord, SessionRecord, SettingsRecord, ShadowRecord,
    StateRecord,
};
use strait::store::seal::Sealer;
use strait::store::{Change, Commit, CommitError, Guard, HistoryQuery, Store};

pub(crate) fn device_id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

pub(crate) fn node_id(text: &str) -> NodeId {
    NodeId::parse(text).unwrap()
}

pub(crate) fn product_id(text: &str) -> ProductId {
    ProductId::parse(text).unwrap()
}

pub(crate) fn at(ms: u64) -> Timestamp {
    Timestamp::from_ms(ms)
}

pub(crate) fn device(id: &str, seq: u64, product: &str) -> DeviceRecord {
    DeviceRecord {
        device_id: device_id(id),
        seq,
        version: 1,
        node_id: node_id(&format!("node-{id}")),
        product_id: product_id(product),
        app_id: AppId::parse("app").unwrap(),
        device_name: Some("Zähler".to_owned()),
        description: None,
        gateway_id: device_id(id),
        auth: AuthRecord {
            auth_type: AuthType::Secret,
            secret: Secret::new("00112233".to_owned()),
            secret_given: true,
            secondary_secret: None,
            secure_access: Some(false),
            fingerprint: None,
            timeout_s: 180,
        },
        extension_info: Some(json!({"floor": 3, "tags": ["a", null, 1.5]})),
        frozen: false,
        created_at: at(1000),
        tags: Vec::new(),
        groups: Vec::new(),
    }
}

pub(crate) fn state(version: u64) -> StateRecord {
    let reported = json!({"level": version, "text": "x".repeat(100)});
    StateRecord {
        version,
        last_seen_at: Some(at(version)),
        location: Some(version),
        shadow: vec![ShadowRecord {
            service_id: "Meter".to_owned(),
            version,
            reported: reported.as_object().unwrap().clone(),
            reported_at: Some(at(version)),
            desired: serde_json::Map::new(),
            desired_at: None,
        }],
        ..StateRecord::default()
    }
}

/// A state whose row is about `len` bytes long, filled with `letter`.
pub(crate) fn long_state(version: u64, len: usize, letter: char) -> StateRecord {
    let mut record = state(version);
    let text = letter.to_string().repeat(len);
    record.shadow[0]
        .reported
        .insert("text".to_owned(), text.into());
    record
}

/// The sealer of every store in these tests.
pub(crate) fn sealer() -> Sealer {
    Sealer::new(MEMORY_KEY)
}

/// The session `number` of the device `id` with this seq.
pub(crate) fn session(id: &str, device_seq: u64, number: u64) -> SessionRecord {
    SessionRecord {
        device_seq: DeviceSeq(device_seq),
        device_id: device_id(id),
        number,
        own_cid: Some(number.to_be_bytes()),
        peer_cid: vec![1, 2, 3],
        address: "192.0.2.7:5684".parse().unwrap(),
        address_proven: true,
        suite: 0xc0a8,
        encrypt_then_mac: false,
        return_routability: true,
        key_block: Secret::new(b"forty bytes of a key block, never seen!!".to_vec()),
        verify_data: b"twelve bytes".to_vec(),
        finished_seq: 3,
        send_reserved: 1000,
        received: Some(17),
        established_at: at(1000),
    }
}

pub(crate) fn put_session(record: SessionRecord) -> Change {
    Change::PutSession(Box::new(record))
}

pub(crate) fn product(id: &str, seq: u64) -> ProductRecord {
    ProductRecord {
        product_id: product_id(id),
        seq,
        version: 1,
        app_id: AppId::parse("app").unwrap(),
        name: format!("Product {id}"),
        device_type: "WaterMeter".to_owned(),
        protocol_type: "CoAP".to_owned(),
        data_format: "binary".to_owned(),
        manufacturer_name: None,
        industry: None,
        description: None,
        profile: Profile {
            services: vec![Service {
                service_id: "Meter".to_owned(),
                service_type: "Meter".to_owned(),
                properties: Vec::new(),
                commands: Vec::new(),
                events: Vec::new(),
                description: None,
                option: ServiceOption::Optional,
            }],
        },
        created_at: at(5),
        deleting: false,
    }
}

pub(crate) fn codec(etag: &str, len: usize) -> CodecRecord {
    CodecRecord {
        kind: CodecKind::Table,
        source: (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect(),
        etag: etag.to_owned(),
        uploaded_at: at(6),
    }
}

pub(crate) fn settings() -> SettingsRecord {
    SettingsRecord {
        settings: Settings::default(),
        updated_at: at(7),
        version: 0,
    }
}

pub(crate) fn append(device_seq: u64, received_ms: u64, services: &str) -> Change {
    Change::AppendHistory {
        device_seq,
        record: Box::new(HistoryRecord {
            received_at: at(received_ms),
            services: services.to_owned(),
        }),
    }
}

pub(crate) fn keep_raw(device_seq: u64, received_ms: u64, payload: &[u8]) -> Change {
    Change::KeepRaw {
        device_seq,
        record: Box::new(RawRecord {
            received_at: at(received_ms),
            payload: payload.to_vec(),
            kind: "truncated".to_owned(),
            reason: "level needs 2 bytes at offset 3, 1 is left".to_owned(),
        }),
    }
}

pub(crate) fn emit(ms: u64, json: &str) -> Change {
    Change::Emit(Box::new(event(ms, json)))
}

pub(crate) fn event(ms: u64, json: &str) -> EventRecord {
    EventRecord {
        at: at(ms),
        envelopes: vec![EnvelopeRecord {
            resource: "device.property".to_owned(),
            event: "report".to_owned(),
            device_id: Some(device_id("d")),
            json: json.to_owned(),
            app_id: None,
        }],
    }
}

pub(crate) fn put_device(record: DeviceRecord) -> Change {
    Change::PutDevice(Box::new(record))
}

pub(crate) fn put_state(id: &str, record: StateRecord) -> Change {
    Change::PutState(device_id(id), Box::new(record))
}

pub(crate) fn put_product(record: ProductRecord) -> Change {
    Change::PutProduct(Box::new(record))
}

pub(crate) fn commit(
    store: &impl Store,
    guards: Vec<Guard>,
    changes: Vec<Change>,
) -> Result<(), CommitError> {
    store.commit(Commit { guards, changes }).wait()
}

/// A commit that must succeed.
pub(crate) fn write(store: &impl Store, changes: Vec<Change>) {
    commit(store, Vec::new(), changes).unwrap();
}

/// Commits from many threads at once.
pub(crate) fn in_parallel<S: Store>(
    store: &Arc<S>,
    threads: usize,
    work: impl Fn(&S, usize) + Sync,
) {
    std::thread::scope(|scope| {
        for n in 0..threads {
            let (store, work) = (Arc::clone(store), &work);
            scope.spawn(move || work(&store, n));
        }
    });
}

/// A query for everything of one device.
pub(crate) fn all_history(device_seq: u64) -> HistoryQuery {
    HistoryQuery {
        device_seq,
        from: None,
        to: None,
        before: None,
        limit: 1000,
    }
}
