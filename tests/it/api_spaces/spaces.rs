//! A space is deleted with products, devices, groups, rules, certificates, batch tasks and files.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use serde_json::json;
use strait::base::ids::{ActionId, AppId, CertificateId, FileId, GroupId, RuleId, TaskId};
use strait::base::time::Timestamp;
use strait::store::catalog::{
    CertificateRecord, CountsRecord, FileContent, FileRecord, GroupRecord, SubtaskRecord,
    SubtaskState, TaskPhase, TaskRecord, TaskType,
};
use strait::store::forwarding::{ActionRecord, ForwardingRecord, HttpRecord, RuleRecord};
use strait::store::{Change, Commit, Store};

use super::products::{fleet, left_of, until_deleted};
use super::{APPS, DEVICES, PRODUCTS, ids, product};
use crate::api::Server;

fn group(space: &str, seq: u64) -> Change {
    let at = Timestamp::from_ms(0);
    Change::PutGroup(Box::new(GroupRecord {
        version: 1,
        group_id: GroupId::parse(&format!("g{seq}")).unwrap(),
        seq,
        app_id: AppId::parse(space).unwrap(),
        name: "g".into(),
        description: None,
        super_group_id: None,
        dynamic_group_rule: None,
        created_at: at,
        modified_at: at,
    }))
}

fn certificate(space: &str, seq: u64) -> Change {
    let at = Timestamp::from_ms(0);
    Change::PutCertificate(Box::new(CertificateRecord {
        version: 1,
        certificate_id: CertificateId::parse(&format!("c{seq}")).unwrap(),
        seq,
        app_id: AppId::parse(space).unwrap(),
        cn_name: None,
        owner: None,
        verified: false,
        verify_code: "v".into(),
        provision_enable: false,
        template_id: None,
        ocsp_enable: false,
        ocsp_ssl_enable: false,
        ocsp_server_ca_id: None,
        content: String::new(),
        created_at: at,
        effective_at: at,
        expires_at: at,
    }))
}

/// A rule with an action.
fn rule(space: &str, seq: u64) -> [Change; 2] {
    let at = Timestamp::from_ms(0);
    let rule_id = RuleId::parse(&format!("r{seq}")).unwrap();
    let rule = ForwardingRecord::Rule(RuleRecord {
        version: 1,
        rule_id: rule_id.clone(),
        seq,
        rule_name: None,
        description: None,
        resource: "device".into(),
        event: "delete".into(),
        app_id: Some(AppId::parse(space).unwrap()),
        select: None,
        condition: None,
        active: true,
        created_at: at,
        modified_at: at,
    });
    let action = ForwardingRecord::Action(ActionRecord {
        version: 1,
        action_id: ActionId::parse(&format!("a{seq}")).unwrap(),
        seq,
        rule_id,
        http: HttpRecord {
            url: "http://h/".into(),
            cert_id: None,
            cn_name: None,
            sni_enable: false,
            signature_enable: false,
            token: None,
            tls_verify: true,
        },
        created_at: at,
        modified_at: at,
    });
    [rule, action].map(|one| Change::PutForwarding(Box::new(one)))
}

/// A task with 1200 subtasks, and a file.
fn task(space: &str, seq: u64) -> Vec<Change> {
    let app_id = AppId::parse(space).unwrap();
    let mut changes: Vec<Change> = (0..1200)
        .map(|index| Change::PutSubtask {
            task_seq: seq,
            index,
            record: Box::new(SubtaskRecord {
                target: index.to_string(),
                input: None,
                refused: false,
                state: SubtaskState::Waiting,
                tries: 0,
                output: None,
                error: None,
                unconfirmed: false,
            }),
        })
        .collect();
    changes.push(Change::PutTask(Box::new(TaskRecord {
        version: 1,
        task_id: TaskId::parse(&format!("{seq:024x}")).unwrap(),
        seq,
        app_id: app_id.clone(),
        task_name: "t".into(),
        task_type: TaskType::FreezeDevices,
        task_mode: None,
        need_confirm: None,
        task_ext_info: None,
        has_targets: true,
        targets_filter: None,
        document: None,
        document_source: None,
        work: None,
        space: None,
        policy: None,
        total: 1200,
        phase: TaskPhase::Ended,
        counts: CountsRecord::default(),
        status_desc: None,
        created_at: Timestamp::from_ms(0),
        ended_at: None,
        campaign: None,
    })));
    let file = FileRecord {
        file_id: FileId::parse(&format!("f{seq}")).unwrap(),
        seq,
        app_id: Some(app_id),
        file_name: "f.csv".into(),
        uploaded_at: Timestamp::from_ms(0),
    };
    let content = FileContent { bytes: vec![1] };
    changes.push(Change::PutFile(Box::new(file), Box::new(content)));
    changes
}

/// Space `a` is on its way out: what is left of it is there for nobody.
async fn assert_only_b_is_there(server: &Server) {
    let list = |path: &'static str| async { server.get(path).await.body };
    let tasks = "/v5/iot/x/batchtasks?task_type=freezeDevices";
    let (first, second) = (format!("{:024x}", 9001), format!("{:024x}", 9002));
    for (path, list_name, id, want) in [
        (APPS, "applications", "app_id", vec!["b", "default"]),
        (PRODUCTS, "products", "product_id", vec!["p3"]),
        (tasks, "batchtasks", "task_id", vec![&second]),
        (
            "/v5/iot/x/batchtask-files",
            "files",
            "file_id",
            vec!["f9002"],
        ),
    ] {
        assert_eq!(ids(&list(path).await, list_name, id), want, "{path}");
    }
    assert_eq!(server.get(tasks).await.body["page"]["count"], 1);
    for kind in ["rules", "actions"] {
        let path = format!("/v5/iot/x/routing-rule/{kind}");
        assert_eq!(server.get(&path).await.body["count"], 1, "{path}");
    }
    let pushed = server.app.forwarding.subscribe().borrow().rules.len();
    assert_eq!(pushed, 1, "events of the space go to nobody");
    assert_eq!(server.get(DEVICES).await.body["page"]["count"], 2);
    for (id, status) in [(first, 404), (second, 200)] {
        let path = format!("/v5/iot/x/batchtasks/{id}");
        assert_eq!(server.get(&path).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn a_space_goes_with_all_that_belongs_to_it() {
    let server = Server::start().with_spaces(&["a", "b"]).await;
    let store = Arc::clone(&server.store);
    let mut server = server;
    server.drop_changes();
    for (id, space, count) in [("p1", "a", 150), ("p2", "a", 100), ("p3", "b", 2)] {
        fleet(&server, id, space, count).await;
    }
    for (space, seq) in [("a", 9001), ("b", 9002)] {
        let mut changes = task(space, seq);
        changes.extend([group(space, seq), certificate(space, seq)]);
        changes.extend(rule(space, seq));
        server.write(changes).await;
    }
    drop(server);
    // Stops in the middle, is killed there, and goes on.
    let server = Server::over(Arc::clone(&store));
    let delete = server.delete("/v5/iot/x/apps/a");
    let hung_up = tokio::time::timeout(Duration::from_millis(300), delete).await;
    assert!(hung_up.is_err());
    assert!(left_of(&store, "p1") + left_of(&store, "p2") > 0);
    let in_space = product("p9", Some("a"));
    let rows = [
        (Method::GET, "/v5/iot/x/apps/a", None, 404),
        (
            Method::PUT,
            "/v5/iot/x/apps/a",
            Some(json!({"app_name": "x"})),
            404,
        ),
        (Method::DELETE, "/v5/iot/x/apps/a", None, 404),
        (Method::GET, "/v5/iot/x/products/p1", None, 404),
        (Method::GET, "/v5/iot/x/products/p2", None, 404),
        (Method::GET, "/v5/iot/x/devices/p2_p2-0", None, 404),
        (Method::GET, "/v5/iot/x/certificates/c9001", None, 404),
        (Method::GET, "/v5/iot/x/certificates/c9002", None, 200),
        (Method::GET, "/v5/iot/x/routing-rule/rules/r9001", None, 404),
        (Method::GET, "/v5/iot/x/routing-rule/rules/r9002", None, 200),
        (
            Method::GET,
            "/v5/iot/x/routing-rule/actions/a9001",
            None,
            404,
        ),
        (
            Method::GET,
            "/v5/iot/x/routing-rule/actions/a9002",
            None,
            200,
        ),
        (Method::GET, "/v5/iot/x/products/p3", None, 200),
        (Method::POST, "/v5/iot/x/products", Some(in_space), 403),
    ];
    for (method, path, body, status) in rows {
        let got = server.call(method.clone(), path, body.as_ref()).await;
        assert_eq!(got.status, status, "{method} {path}: {:?}", got.body);
    }
    assert_only_b_is_there(&server).await;
    server.app.tasks.shut_down(Duration::ZERO).await;
    drop(server);

    // A group, a certificate and a rule that were read too late to go with the mark.
    store
        .commit(Commit {
            guards: Vec::new(),
            changes: [group("a", 9003), certificate("a", 9003)]
                .into_iter()
                .chain(rule("a", 9003))
                .collect(),
        })
        .await
        .unwrap();
    let mut server = Server::over(Arc::clone(&store));
    let group = server.get("/v5/iot/x/device-group/g9003").await;
    assert_eq!(group.status, 404);
    assert_only_b_is_there(&server).await;
    server.drop_changes();
    for id in ["p1", "p2"] {
        until_deleted(&server, id).await;
    }
    // The space goes last.
    while store
        .apps()
        .unwrap()
        .iter()
        .any(|app| app.app_id.as_str() == "a")
    {
        tokio::task::yield_now().await;
    }
    let own = |id: &AppId| id.as_str() == "b";
    assert!(store.groups().unwrap().iter().all(|g| own(&g.app_id)));
    assert!(store.certificates().unwrap().iter().all(|c| own(&c.app_id)));
    assert!(store.tasks().unwrap().iter().all(|t| own(&t.app_id)));
    assert_eq!(store.forwarding().unwrap().len(), 2);
    assert!(
        store
            .files()
            .unwrap()
            .iter()
            .all(|f| f.app_id.as_ref().is_some_and(own))
    );
    assert_eq!(store.subtasks(9001, 0, 10).unwrap(), vec![]);
    assert_eq!(store.subtasks(9002, 0, 5000).unwrap().len(), 1200);
    assert_eq!(
        (
            left_of(&store, "p1"),
            left_of(&store, "p2"),
            left_of(&store, "p3")
        ),
        (0, 0, 2)
    );
}
