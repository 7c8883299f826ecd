//! Limits of groups, with callers at the same time.

use std::path::Path;

use futures_util::future::join_all;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::sync::mpsc;

use super::*;
use crate::app::App;
use crate::app::credentials::Credentials;
use crate::app::device::{NewAuth, NewDevice};
use crate::app::product::NewProduct;
use crate::app::shards::Shards;
use crate::base::ids::{NodeId, ProductId};
use crate::base::time::Timestamp;
use crate::product::profile::Profile;
use crate::store::memory::MemoryStore;
use crate::store::package_files::PackageFiles;

const LIMITS: GroupLimits = GroupLimits {
    groups: 4,
    levels: 2,
    dynamic_groups: 1,
    members: MemberLimits {
        devices_per_group: 3,
        groups_per_device: 2,
    },
};

struct World {
    app: App,
    store: Arc<MemoryStore>,
    groups: Arc<Groups>,
    /// Someone must listen to changes.
    _changes: mpsc::Receiver<crate::app::device::DeviceChange>,
}

impl World {
    async fn start() -> Self {
        let store = Arc::new(MemoryStore::new());
        let clock = Clock::manual(Timestamp::from_ms(1_700_000_000_000));
        let (sender, changes) = mpsc::channel(1000);
        let shared: Arc<dyn Store> = Arc::clone(&store) as _;
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let app = App::start(crate::app::Parts {
            store: shared,
            clock,
            metrics,
            changes: sender,
            shards: Shards::new(1).0.link(),
            traced_devices_max: 1,
            batch: crate::app::batch::Settings::default(),
            replay: crate::app::replay::Settings::default(),
            push: crate::app::push::Settings::default(),
            packages: crate::app::package::Settings::default(),
            package_files: PackageFiles::of(Path::new("/nonexistent")),
            codecs: crate::app::codec_pool::Settings::default(),
            upgrade: crate::app::upgrade::Settings::default(),
            codec_worker: None,
            codec_runner: None,
            known_packages: None,
            dialer: crate::net::webhook::Dialer::Network,
            credentials: Arc::new(Credentials::nobody_asked()),
        })
        .unwrap();
        let product = NewProduct {
            product_id: Some(ProductId::parse("p1").unwrap()),
            app_id: None,
            name: "Meter".into(),
            device_type: "Meter".into(),
            protocol_type: "CoAP".into(),
            data_format: "binary".into(),
            manufacturer_name: None,
            industry: None,
            description: None,
            profile: Profile::default(),
        };
        app.products.create(product).await.unwrap();
        Self {
            groups: Arc::new(Self::load(&app)),
            store,
            app,
            _changes: changes,
        }
    }

    fn load(app: &App) -> Groups {
        Groups::load(Parts {
            store: Arc::clone(&app.store),
            clock: app.clock.clone(),
            tasks: app.tasks.clone(),
            devices: Arc::clone(&app.devices),
            limits: LIMITS,
        })
        .unwrap()
    }

    async fn device(&self, node: &str) -> DeviceId {
        let new = NewDevice {
            device_id: None,
            node_id: NodeId::parse(node).unwrap(),
            device_name: None,
            product_id: ProductId::parse("p1").unwrap(),
            auth: NewAuth::default(),
            description: None,
            gateway_id: None,
            app_id: None,
            extension_info: None,
            desired: Vec::new(),
        };
        self.app.devices.create(new).await.unwrap().device.device_id
    }

    async fn group(&self, name: &str) -> Result<GroupId, GroupError> {
        let made = self.groups.create(new(name)).await?;
        Ok(made.record.group_id.clone())
    }

    fn count(&self, id: &GroupId) -> u64 {
        let seq = self.groups.show(id).unwrap().record.seq;
        self.app.devices.count_members(seq).unwrap()
    }
}

fn new(name: &str) -> NewGroup {
    NewGroup {
        app_id: AppId::parse("default").unwrap(),
        name: Some(name.to_owned()),
        description: None,
        super_group_id: None,
        rule: None,
    }
}

#[tokio::test]
async fn adds_at_the_same_time_never_pass_the_limit() {
    let world = World::start().await;
    let group = world.group("g").await.unwrap();
    let names: Vec<String> = (0..8).map(|i| format!("n{i}")).collect();
    let devices = join_all(names.iter().map(|name| world.device(name))).await;
    // All ask before the first of them is on disk; some ask twice.
    world.store.faults().hold();
    let twice = devices.iter().chain(&devices);
    let adds = twice.map(|id| world.groups.add(&group, id.clone()));
    let mut adds = std::pin::pin!(join_all(adds));
    for _ in 0..50 {
        assert!(futures_util::poll!(&mut adds).is_pending());
        tokio::task::yield_now().await;
    }
    world.store.faults().release();
    let refused = adds.await.iter().filter(|added| added.is_err()).count();
    assert!(refused >= 10, "{refused}");
    let inside = |id: &&DeviceId| !world.app.devices.show(id).unwrap().device.groups.is_empty();
    let members: Vec<&DeviceId> = devices.iter().filter(inside).collect();
    // A place that was asked for twice may have stood empty, so perhaps fewer than three.
    assert!((1..=3).contains(&members.len()), "{members:?}");
    assert_eq!(world.count(&group), members.len() as u64);

    // Places become free as devices leave or are deleted, once each.
    for id in &devices {
        drop(world.groups.add(&group, id.clone()).await);
    }
    assert_eq!(world.count(&group), 3);
    let members: Vec<DeviceId> = devices.iter().filter(inside).cloned().collect();
    world
        .groups
        .remove(&group, members[0].clone())
        .await
        .unwrap();
    world
        .groups
        .remove(&group, members[0].clone())
        .await
        .unwrap();
    assert_eq!(world.count(&group), 2);
    world.app.devices.delete(members[1].clone()).await.unwrap();
    assert_eq!(world.count(&group), 1);
    let again = world.device("fresh").await;
    world.groups.add(&group, again).await.unwrap();
    assert_eq!(world.count(&group), 2);
}

#[tokio::test]
async fn a_failed_write_gives_its_place_back() {
    let world = World::start().await;
    let group = world.group("g").await.unwrap();
    let device = world.device("n").await;
    let patch = GroupPatch {
        name: Some("i".into()),
        description: None,
    };
    let fail = || world.store.faults().fail_next(1, &StoreError::Busy);
    fail();
    let added = world.groups.add(&group, device.clone()).await;
    assert_eq!(added.err().unwrap().kind(), "store");
    fail();
    assert_eq!(world.group("h").await.err().unwrap().kind(), "store");
    fail();
    let updated = world.groups.update(group.clone(), patch).await;
    assert_eq!(updated.err().unwrap().kind(), "store");
    fail();
    let deleted = world.groups.delete(group.clone()).await;
    assert_eq!(deleted.err().unwrap().kind(), "store");
    assert_eq!(world.count(&group), 0);
    // The names that were not written are free, and the group can still be changed.
    world.group("h").await.unwrap();
    world.group("i").await.unwrap();
    world.groups.add(&group, device).await.unwrap();
    assert_eq!(world.groups.show(&group).unwrap().record.name, "g");
    world.groups.delete(group).await.unwrap();
}

#[tokio::test]
async fn groups_names_and_levels_are_bounded() {
    let world = World::start().await;
    // Of those who ask for one name at the same time, one gets it; the others leave no trace.
    let made = join_all((0..8).map(|_| world.group("same"))).await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1);
    let taken =
        |e: &GroupError| matches!(e, GroupError::NameTaken { .. } | GroupError::TooMany { .. });
    assert!(made.iter().filter_map(|m| m.as_ref().err()).all(taken));
    let top = world.groups.list()[0].record.group_id.clone();
    let below = |name: &str, above: &GroupId| NewGroup {
        super_group_id: Some(above.clone()),
        ..new(name)
    };
    let second = world.groups.create(below("second", &top)).await.unwrap();
    let second = second.record.group_id.clone();
    let third = world
        .groups
        .create(below("third", &second))
        .await
        .err()
        .unwrap();
    assert!(third.to_string().starts_with("super_group_id: "), "{third}");
    assert!(third.to_string().contains("is at level 2 of 2"), "{third}");
    assert_eq!(
        world.groups.delete(top.clone()).await.err().unwrap().kind(),
        "has_below"
    );

    let dynamic = |name: &str| NewGroup {
        rule: Some("status = 'ONLINE'".into()),
        ..new(name)
    };
    world.groups.create(dynamic("d1")).await.unwrap();
    let more = world.groups.create(dynamic("d2")).await.err().unwrap();
    assert_eq!(more.kind(), "too_many_dynamic");
    world.group("fourth").await.unwrap();
    assert_eq!(world.group("fifth").await.err().unwrap().kind(), "too_many");

    // Of who deletes a group and who creates below it, one succeeds.
    world.groups.delete(second.clone()).await.unwrap();
    let (deleted, made) = tokio::join!(
        world.groups.delete(top.clone()),
        world.groups.create(below("late", &top))
    );
    assert_ne!(deleted.is_ok(), made.is_ok(), "{deleted:?} {made:?}");
}

#[tokio::test]
async fn a_device_is_in_few_groups_and_those_that_are_gone_do_not_count() {
    let world = World::start().await;
    let device = world.device("n").await;
    let mut groups = Vec::new();
    for name in ["a", "b", "c"] {
        groups.push(world.group(name).await.unwrap());
    }
    world.groups.add(&groups[0], device.clone()).await.unwrap();
    world.groups.add(&groups[1], device.clone()).await.unwrap();
    let third = world
        .groups
        .add(&groups[2], device.clone())
        .await
        .err()
        .unwrap();
    assert_eq!(
        third.to_string(),
        "device_id: is in 2 groups already, takes up to 2"
    );
    assert_eq!(world.count(&groups[2]), 0);
    world.groups.delete(groups[0].clone()).await.unwrap();
    world.groups.add(&groups[2], device.clone()).await.unwrap();
    let detail = world.app.devices.show(&device).unwrap();
    let names: Vec<String> = world
        .groups
        .memberships()
        .of(&detail)
        .map(|g| g.record.name.clone())
        .collect();
    assert_eq!(names, ["c", "b"]);
    // The deleted group went from the record with the next write of it.
    assert_eq!(detail.device.groups.len(), 2);
}

#[tokio::test]
async fn changes_of_one_group_at_the_same_time_all_count() {
    let world = World::start().await;
    let group = world.group("g").await.unwrap();
    let patches = (0..8).map(|i| GroupPatch {
        name: (i % 2 == 0).then(|| format!("g{i}")),
        description: (i % 2 == 1).then(|| format!("d{i}")),
    });
    let done = join_all(patches.map(|patch| world.groups.update(group.clone(), patch))).await;
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    let record = world.groups.show(&group).unwrap().record;
    assert_eq!(record.version, 9);
    assert!(
        record.name.len() == 2 && record.description.is_some(),
        "{record:?}"
    );
    // Every name but the last is free again.
    let free = (0..8).filter(|i| i % 2 == 0).map(|i| format!("g{i}"));
    for name in free.filter(|name| *name != record.name).take(3) {
        world.group(&name).await.unwrap();
    }
    // And what is on disk is what is in memory.
    let again = World::load(&world.app);
    let stored: Vec<_> = again.list().into_iter().map(|g| g.record).collect();
    let known: Vec<_> = world.groups.list().into_iter().map(|g| g.record).collect();
    assert_eq!(stored, known);
}
