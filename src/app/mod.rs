//! Use cases: load, step, commit, act. [`App`] holds the services that the HTTP face and the
//! shards call.

pub mod audit;
pub mod batch;
pub mod campaign;
pub mod certificate;
pub mod codec_call;
pub mod codec_pool;
pub mod codec_runner;
pub mod command;
pub mod credentials;
pub mod deadlines;
pub mod device;
pub mod directory;
pub mod downlink;
pub mod due;
pub mod envelope;
pub mod figures;
pub mod forwarding;
pub mod group;
pub mod ingress;
pub mod input;
pub mod loaded;
pub mod note;
pub mod order;
pub mod outbox;
pub mod package;
pub mod platform;
pub mod product;
pub mod push;
mod random;
pub mod registration;
pub mod removal;
pub mod replay;
pub mod report;
pub mod retention;
pub mod search;
pub mod sessions;
pub mod shadow;
pub mod shard;
pub mod shards;
pub mod space;
pub mod sql;
pub mod step;
pub mod tasks;
pub mod timers;
pub mod trace;
pub mod upgrade;
pub mod upgrading;
pub mod uplink;
pub mod wake;

use std::path::PathBuf;
use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::mpsc;

use crate::base::time::Clock;
use crate::net::webhook::Dialer;
use crate::store::package_files::PackageFiles;
use crate::store::{Store, StoreError};
use audit::Audit;
use batch::Batches;
use campaign::Campaigns;
use certificate::Certificates;
use codec_pool::CodecPool;
use codec_runner::CodecRunner;
use command::Commands;
use credentials::Credentials;
use device::{DeviceChange, Devices, LostUpgrades};
use forwarding::Forwarding;
use group::{GroupLimits, Groups};
use outbox::Outbox;
use package::Packages;
use product::Products;
use push::Pushes;
use removal::Removals;
use replay::Replays;
use shadow::Shadows;
use shards::ShardsLink;
use space::Spaces;
use tasks::Tasks;
use trace::Tracer;
use upgrade::line::Line;

/// What [`App`] is built from.
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub metrics: PrometheusHandle,
    /// Hears of each durable change of a device.
    pub changes: mpsc::Sender<DeviceChange>,
    pub shards: ShardsLink,
    pub traced_devices_max: usize,
    pub batch: batch::Settings,
    pub upgrade: upgrade::Settings,
    pub replay: replay::Settings,
    pub push: push::Settings,
    pub packages: package::Settings,
    /// Where the files of packages lie.
    pub package_files: PackageFiles,
    pub codecs: codec_pool::Settings,
    /// The program whose `codec-worker` runs codecs; `None`: the one that runs.
    pub codec_worker: Option<PathBuf>,
    /// Where pushes leave.
    pub dialer: Dialer,
    pub credentials: Arc<Credentials>,
    /// Who runs codecs with code of their own; `None`: a pool of such workers.
    pub codec_runner: Option<Arc<dyn CodecRunner>>,
    /// The packages that campaigns know; `None`: those of the service.
    pub known_packages: Option<Arc<dyn upgrading::Packages>>,
}

/// The services of one server. Clones share them.
#[derive(Clone)]
pub struct App {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub spaces: Arc<Spaces>,
    pub products: Arc<Products>,
    pub devices: Arc<Devices>,
    pub certificates: Arc<Certificates>,
    pub commands: Arc<Commands>,
    pub shadows: Arc<Shadows>,
    pub batches: Arc<Batches>,
    pub groups: Arc<Groups>,
    pub forwarding: Arc<Forwarding>,
    pub pushes: Arc<Pushes>,
    pub codecs: Arc<dyn CodecRunner>,
    pub packages: Arc<Packages>,
    pub known_packages: Arc<dyn upgrading::Packages>,
    pub removals: Arc<Removals>,
    pub replays: Arc<Replays>,
    pub outbox: Arc<Outbox>,
    pub tracer: Arc<Tracer>,
    pub tasks: Tasks,
    pub metrics: PrometheusHandle,
    pub credentials: Arc<Credentials>,
    pub audit: Arc<Audit>,
    /// Who waits for a slot, over all devices.
    pub line: Arc<Line>,
    pub campaigns: Arc<Campaigns>,
}

impl App {
    /// Loads what must be in memory, and goes on with deletions that were begun. Must be called inside
    /// a tokio runtime.
    pub fn start(parts: Parts) -> Result<Self, StoreError> {
        let Parts {
            store,
            clock,
            metrics,
            changes,
            shards,
            traced_devices_max,
            batch,
            upgrade,
            replay,
            push,
            packages,
            package_files,
            codecs,
            codec_worker,
            dialer,
            credentials,
            codec_runner,
            known_packages,
        } = parts;
        let tasks = Tasks::new();
        let codecs = codec_runner.unwrap_or_else(|| {
            Arc::new(CodecPool::new(codec_pool::Parts {
                settings: codecs,
                clock: clock.clone(),
                tasks: tasks.clone(),
                program: codec_worker,
            }))
        });
        let outbox = Arc::new(Outbox::new(Arc::clone(&store)));
        let spaces = Arc::new(Spaces::load(space::Parts {
            store: Arc::clone(&store),
            clock: clock.clone(),
            tasks: tasks.clone(),
        })?);
        let products = Arc::new(Products::load(product::Parts {
            store: Arc::clone(&store),
            clock: clock.clone(),
            outbox: Arc::clone(&outbox),
            tasks: tasks.clone(),
            spaces: Arc::clone(&spaces),
            codecs: Arc::clone(&codecs),
        })?);
        let devices = Arc::new(Devices::new(device::Parts {
            store: Arc::clone(&store),
            clock: clock.clone(),
            outbox: Arc::clone(&outbox),
            tasks: tasks.clone(),
            products: Arc::clone(&products),
            spaces: Arc::clone(&spaces),
            changes,
        }));
        let groups = Arc::new(Groups::load(group::Parts {
            store: Arc::clone(&store),
            clock: clock.clone(),
            tasks: tasks.clone(),
            devices: Arc::clone(&devices),
            limits: GroupLimits::default(),
        })?);
        let audit = Arc::new(Audit::new(Arc::clone(&store), clock.clone()));
        let tracer = Arc::new(Tracer::new(traced_devices_max));
        let certificates = Arc::new(Certificates::new(certificate::Parts {
            store: Arc::clone(&store),
            clock: clock.clone(),
            tasks: tasks.clone(),
            spaces: Arc::clone(&spaces),
        }));
        let shadows = Arc::new(Shadows::new(shards.clone()));
        let commands = Arc::new(Commands::new(command::Parts {
            store: Arc::clone(&store),
            clock: clock.clone(),
            tasks: tasks.clone(),
            shards: shards.clone(),
        }));
        let packages = Arc::new(Packages::load(package::Parts {
            store: Arc::clone(&store),
            clock: clock.clone(),
            tasks: tasks.clone(),
            products: Arc::clone(&products),
            files: package_files,
            settings: packages,
        })?);
        let service = || Arc::clone(&packages) as Arc<dyn upgrading::Packages>;
        let known_packages = known_packages.unwrap_or_else(service);
        let batches = Batches::start(batch::Parts {
            store: Arc::clone(&store),
            clock: clock.clone(),
            tasks: tasks.clone(),
            devices: Arc::clone(&devices),
            products: Arc::clone(&products),
            spaces: Arc::clone(&spaces),
            groups: Arc::clone(&groups),
            shadows: Arc::clone(&shadows),
            tracer: Arc::clone(&tracer),
            commands: Arc::clone(&commands),
            outbox: Arc::clone(&outbox),
            shards: shards.clone(),
            packages: Arc::clone(&known_packages),
            settings: batch,
            begun_max: upgrade.begun_max,
        })?;
        let admission = upgrade.admission();
        let line = Line::new(admission, Arc::clone(&store), clock.clone());
        let campaigns = Arc::new(Campaigns::new(campaign::Parts {
            store: Arc::clone(&store),
            clock: clock.clone(),
            batches: Arc::clone(&batches),
            line: Arc::clone(&line),
            admission,
        }));
        packages.set_in_use(Arc::clone(&batches) as _);
        let lost: Arc<dyn LostUpgrades> = Arc::clone(&batches) as _;
        devices.tell_lost_upgrades(lost);
        let forwarding = Arc::new(Forwarding::load(forwarding::Parts {
            store: Arc::clone(&store),
            clock: clock.clone(),
            tasks: tasks.clone(),
        })?);
        let removals = Arc::new(Removals::new(removal::Parts {
            store: Arc::clone(&store),
            outbox: Arc::clone(&outbox),
            tasks: tasks.clone(),
            spaces: Arc::clone(&spaces),
            products: Arc::clone(&products),
            devices: Arc::clone(&devices),
            groups: Arc::clone(&groups),
            tracer: Arc::clone(&tracer),
            batches: Arc::clone(&batches),
            forwarding: Arc::clone(&forwarding),
            packages: Arc::clone(&packages),
        }));
        removals.resume()?;
        let replays = Replays::start(replay::Parts {
            store: Arc::clone(&store),
            clock: clock.clone(),
            tasks: tasks.clone(),
            products: Arc::clone(&products),
            codecs: Arc::clone(&codecs),
            shards,
            settings: replay,
        })?;
        let pushes = Arc::new(Pushes::start(push::Parts {
            store: Arc::clone(&store),
            clock: clock.clone(),
            outbox: Arc::clone(&outbox),
            tracer: Arc::clone(&tracer),
            snapshot: forwarding.subscribe(),
            settings: push,
            dialer,
        }));
        Ok(Self {
            store,
            clock,
            spaces,
            products,
            devices,
            certificates,
            commands,
            shadows,
            batches,
            groups,
            forwarding,
            pushes,
            codecs,
            packages,
            known_packages,
            removals,
            replays,
            outbox,
            tracer,
            tasks,
            metrics,
            credentials,
            audit,
            line,
            campaigns,
        })
    }
}
