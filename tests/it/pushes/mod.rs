//! Pushes from committed events to scripted subscribers, in the virtual time of a paused runtime.

mod bounds;
mod failures;
mod life;
mod order;
mod subscriber;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::json;
use strait::app::forwarding::Snapshot;
use strait::app::outbox::Outbox;
use strait::app::push::{Parts, Pushes, Settings};
use strait::app::trace::Tracer;
use strait::base::ids::{ActionId, AppId, DeviceId, RuleId};
use strait::base::time::{Clock, Timestamp};
use strait::store::forwarding::{ActionRecord, HttpRecord, RuleRecord};
use strait::store::memory::Memory;
use strait::store::records::{EnvelopeRecord, EventRecord};
use strait::store::{Change, Commit, Store};
use subscriber::Subscriber;
use tokio::sync::watch;

use crate::server::Disk;

/// A store with its events, the service, and whoever is pushed to.
struct World {
    memory: Memory,
    store: Arc<Disk>,
    outbox: Arc<Outbox>,
    tracer: Arc<Tracer>,
    clock: Clock,
    snapshot: watch::Sender<Arc<Snapshot>>,
    settings: Settings,
    subscriber: Subscriber,
    pushes: Option<Pushes>,
}

impl World {
    fn start(settings: Settings) -> Self {
        let start = Timestamp::parse("20260301T120000Z").unwrap();
        let clock = Clock::following(start, || tokio::time::Instant::now().into_std());
        let memory = Memory::default();
        let store = Arc::new(Disk::over(&memory));
        let shared: Arc<dyn Store> = Arc::clone(&store) as _;
        let mut world = Self {
            outbox: Arc::new(Outbox::new(shared)),
            memory,
            store,
            tracer: Arc::new(Tracer::default()),
            subscriber: Subscriber::start(&clock),
            clock,
            snapshot: watch::Sender::new(Arc::new(Snapshot::default())),
            settings,
            pushes: None,
        };
        world.run();
        world
    }

    fn run(&mut self) {
        self.pushes = Some(Pushes::start(Parts {
            store: Arc::clone(&self.store) as _,
            clock: self.clock.clone(),
            outbox: Arc::clone(&self.outbox),
            tracer: Arc::clone(&self.tracer),
            snapshot: self.snapshot.subscribe(),
            settings: self.settings,
            dialer: self.subscriber.dialer.clone(),
        }));
    }

    fn pushes(&self) -> &Pushes {
        self.pushes.as_ref().unwrap()
    }

    /// The process dies, and another goes on with what is durable.
    async fn crash(&mut self) {
        self.store.fall_mute();
        self.pushes = None;
        // What runs is dropped where it waits.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        self.open();
    }

    /// The server stops in order, and starts anew.
    async fn restart(&mut self) {
        let pushes = self.pushes.take().unwrap();
        assert!(pushes.stop(Duration::from_secs(10)).await.is_empty());
        drop(pushes);
        self.open();
    }

    fn open(&mut self) {
        self.store = Arc::new(Disk::over(&self.memory));
        self.outbox = Arc::new(Outbox::new(Arc::clone(&self.store) as _));
        self.run();
    }

    fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        let mut next = Snapshot::clone(&self.snapshot.borrow());
        change(&mut next);
        self.snapshot.send_replace(Arc::new(next));
    }

    /// A rule for reports with an action that pushes to `http://<name>.example/`.
    fn subscribe(&self, name: &str, seq: u64) -> ActionId {
        let now = self.clock.now();
        let action = action(name, seq, now);
        let id = action.action_id.clone();
        self.change(|all| {
            all.rules.push(rule(name, seq, now));
            all.actions.push(action);
        });
        id
    }

    /// Commits these events, each of a device with a number, in one commit; wakes the workers.
    fn emit<'a>(&self, events: impl IntoIterator<Item = (&'a str, u64)>) {
        let at = self.clock.now();
        let changes = events.into_iter().map(|(device, n)| {
            Change::Emit(Box::new(EventRecord {
                at,
                envelopes: vec![report(device, n)],
            }))
        });
        let (guards, changes) = (Vec::new(), changes.collect());
        let commit = Commit { guards, changes };
        let committed = self.store.commit(commit).now_or_never();
        committed.unwrap().unwrap();
        self.outbox.notify();
    }

    /// Waits, in virtual time, until the status of an action is such.
    async fn until(
        &self,
        action: &ActionId,
        is_it: impl Fn(&strait::app::push::status::Status) -> bool,
    ) -> strait::app::push::status::Status {
        for _ in 0..100_000 {
            let status = self.pushes().status(action).unwrap();
            if is_it(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{:?}", self.pushes().status(action));
    }

    fn record(&self, seq: u64) -> Option<strait::store::forwarding::DeliveryRecord> {
        let all = self.store.deliveries().unwrap();
        all.into_iter().find(|(s, _)| *s == seq).map(|(_, r)| r)
    }
}

fn rule(name: &str, seq: u64, now: Timestamp) -> RuleRecord {
    RuleRecord {
        version: 1,
        rule_id: RuleId::parse(name).unwrap(),
        seq,
        rule_name: None,
        description: None,
        resource: "device.property".to_owned(),
        event: "report".to_owned(),
        app_id: None,
        select: None,
        condition: None,
        active: true,
        created_at: now,
        modified_at: now,
    }
}

fn action(name: &str, seq: u64, now: Timestamp) -> ActionRecord {
    ActionRecord {
        version: 1,
        action_id: ActionId::parse(name).unwrap(),
        seq,
        rule_id: RuleId::parse(name).unwrap(),
        http: HttpRecord {
            url: format!("http://{name}.example/events"),
            cert_id: None,
            cn_name: None,
            sni_enable: false,
            signature_enable: false,
            token: None,
            tls_verify: true,
        },
        created_at: now,
        modified_at: now,
    }
}

fn report(device: &str, n: u64) -> EnvelopeRecord {
    let json = json!({"resource": "device.property", "event": "report",
        "notify_data": {"header": {"device_id": device}, "body": {"n": n}}});
    EnvelopeRecord {
        resource: "device.property".to_owned(),
        event: "report".to_owned(),
        device_id: Some(DeviceId::parse(device).unwrap()),
        json: json.to_string(),
        app_id: Some(AppId::default_space()),
    }
}

/// `count` events of each of these devices, taking turns, numbered from `from`.
fn turns(devices: &[&'static str], from: u64, count: u64) -> Vec<(&'static str, u64)> {
    let numbers = from..from + count;
    numbers
        .flat_map(|n| devices.iter().map(move |device| (*device, n)))
        .collect()
}
