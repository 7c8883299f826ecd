//! Records and commits in short words.

use std::sync::Arc;

use serde_json::json;
use strait::base::ids::{
    AppId, CertificateId, DeviceId, FileId, GroupId, NodeId, PackageId, ProductId, TaskId,
};
use strait::base::peer::DeviceSeq;
use strait::base::secret::Secret;
use strait::base::time::Timestamp;
use strait::product::profile::{Profile, Service, ServiceOption};
use strait::product::settings::Settings;
use strait::store::catalog::{
    AppRecord, AuditRecord, CampaignRecord, CanaryRecord, CertificateRecord, CountsRecord,
    FileContent, FileRecord, GroupRecord, PolicyRecord, SubtaskError, SubtaskRecord, SubtaskState,
    TaskPhase, TaskRecord, TaskType, WindowRecord,
};
use strait::store::memory::MEMORY_KEY;
use strait::store::packages::{FileHash, PackageNameRecord, PackageRecord, PackageType};
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

pub(crate) fn app_id(text: &str) -> AppId {
    AppId::parse(text).unwrap()
}

pub(crate) fn app(id: &str, seq: u64) -> AppRecord {
    AppRecord {
        version: 1,
        app_id: app_id(id),
        seq,
        app_name: format!("Space {id}"),
        is_default: false,
        deleting: false,
        created_at: at(seq),
    }
}

pub(crate) fn group(id: &str, seq: u64) -> GroupRecord {
    GroupRecord {
        version: 1,
        group_id: GroupId::parse(id).unwrap(),
        seq,
        app_id: app_id("app"),
        name: "Street".to_owned(),
        description: Some("north".to_owned()),
        super_group_id: None,
        dynamic_group_rule: None,
        created_at: at(seq),
        modified_at: at(seq),
    }
}

pub(crate) fn task(seq: u64) -> TaskRecord {
    TaskRecord {
        version: 1,
        task_id: TaskId::parse(&format!("task-{seq}")).unwrap(),
        seq,
        app_id: app_id("app"),
        task_name: "freeze".to_owned(),
        task_type: TaskType::FreezeDevices,
        task_mode: None,
        need_confirm: Some(false),
        task_ext_info: Some(json!({"a": [1]})),
        has_targets: true,
        targets_filter: None,
        document: Some(json!({"b": null})),
        document_source: Some(file_id("f")),
        work: None,
        space: None,
        policy: Some(PolicyRecord {
            schedule_at: Some(at(9)),
            retry_count: 2,
            retry_interval_min: 1,
        }),
        total: 2,
        phase: TaskPhase::Running,
        counts: CountsRecord::default(),
        status_desc: None,
        created_at: at(seq),
        ended_at: None,
        campaign: Some(CampaignRecord {
            package_id: "pk".to_owned(),
            paused: true,
            canary: Some(CanaryRecord {
                share_percent: 5,
                max_failure_percent: 10,
                min_results: 20,
            }),
            window: Some(WindowRecord {
                from_min: 1320,
                to_min: 240,
                utc_offset_min: -90,
            }),
        }),
    }
}

pub(crate) fn subtask(target: &str) -> SubtaskRecord {
    SubtaskRecord {
        target: target.to_owned(),
        input: Some(json!({"row": 7})),
        refused: false,
        state: SubtaskState::FailWaitRetry { at: at(77) },
        tries: 1,
        output: None,
        error: Some(SubtaskError {
            error_code: "IOTDA.000006".to_owned(),
            error_msg: "no such device".to_owned(),
        }),
        unconfirmed: true,
    }
}

pub(crate) fn put_subtask(task_seq: u64, index: u32) -> Change {
    Change::PutSubtask {
        task_seq,
        index,
        record: Box::new(subtask(&format!("d{index}"))),
    }
}

pub(crate) fn file_id(text: &str) -> FileId {
    FileId::parse(text).unwrap()
}

pub(crate) fn file(id: &str, seq: u64) -> FileRecord {
    FileRecord {
        file_id: file_id(id),
        seq,
        app_id: Some(app_id("app")),
        file_name: "devices.xlsx".to_owned(),
        uploaded_at: at(seq),
    }
}

pub(crate) fn content(len: usize, step: usize) -> FileContent {
    FileContent {
        bytes: (0..len)
            .map(|n| u8::try_from(n * step % 251).unwrap())
            .collect(),
    }
}

pub(crate) fn put_file(record: FileRecord, content: FileContent) -> Change {
    Change::PutFile(Box::new(record), Box::new(content))
}

pub(crate) fn certificate(id: &str, seq: u64) -> CertificateRecord {
    CertificateRecord {
        version: 1,
        certificate_id: CertificateId::parse(id).unwrap(),
        seq,
        app_id: app_id("app"),
        cn_name: Some("Root".to_owned()),
        owner: None,
        verified: false,
        verify_code: "0123".to_owned(),
        provision_enable: true,
        template_id: None,
        ocsp_enable: false,
        ocsp_ssl_enable: false,
        ocsp_server_ca_id: None,
        content: "-----BEGIN CERTIFICATE-----".to_owned(),
        created_at: at(seq),
        effective_at: at(1),
        expires_at: at(2),
    }
}

pub(crate) fn audit(ms: u64, seq: u64) -> AuditRecord {
    AuditRecord {
        at: at(ms),
        seq,
        access_key: Some("AK".to_owned()),
        role: "admin".to_owned(),
        from: "192.0.2.1".to_owned(),
        request_id: "r".to_owned(),
        method: "POST".to_owned(),
        path: "/v5/iot/p/devices".to_owned(),
        operation: "AddDevice".to_owned(),
        targets: vec![("device_id".to_owned(), "d".to_owned())],
        status: Some(201),
        error_code: None,
    }
}

pub(crate) fn put_audit(record: AuditRecord) -> Change {
    Change::PutAudit(Box::new(record))
}

/// Firmware of the product `meter`, without a file.
pub(crate) fn package(id: &str, seq: u64) -> PackageRecord {
    PackageRecord {
        version: 1,
        package_id: PackageId::parse(id).unwrap(),
        seq,
        app_id: app_id("app"),
        package_type: PackageType::Firmware,
        product_id: product_id("meter"),
        module_name: None,
        package_version: "four.s".to_owned(),
        support_source_versions: vec!["three".to_owned()],
        description: Some("Zähler".to_owned()),
        custom_info: None,
        file_location: Some(json!({"obs_location": {"object_key": "a.bin"}})),
        file: None,
        file_name: Some("four.bin".to_owned()),
        signed_by: None,
        fragment_size: 500,
        created_at: at(seq),
    }
}

pub(crate) fn named(package: Option<&str>, sha256: Option<FileHash>) -> PackageNameRecord {
    PackageNameRecord {
        version: 1,
        package_id: package.map(|id| PackageId::parse(id).unwrap()),
        sha256,
    }
}
