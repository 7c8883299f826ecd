//! The device side of a server: endpoint, ingress and shards around the services of [`App`].
//!
//! Datagrams come and go over channels: a socket is one source, a simulated network another.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hashbrown::HashMap;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::credentials::Credentials;
use super::directory::{Directory, Placement};
use super::figures::Figures;
use super::ingress::Ingress;
use super::sessions::{Resuming, Sessions};
use super::shard::{self, Shard};
use super::shards::{Shards, shard_of};
use super::tasks::Tasks;
use super::upgrade::Upgrades;
use super::upgrade::fetches::Fetches;
use super::upgrade::line::{Campaigns, Line};
use super::{App, batch, codec_pool, command, package, push, replay, retention, timers, upgrade};
use crate::base::peer::Peer;
use crate::base::time::{Clock, Timestamp};
use crate::engine::exchange::Settings as ExchangeSettings;
use crate::engine::limit;
use crate::net::dtls::{self, Stored};
use crate::net::endpoint::{self, Channels, EVENT_QUEUE, OUTGOING_QUEUE};
use crate::net::webhook::Dialer;
use crate::net::{Arrival, Datagram, Downward};
use crate::store::package_files::PackageFiles;
use crate::store::{Store, StoreError, StoreSettings};

/// Changes by the API that wait for ingress.
const CHANGE_QUEUE: usize = 1024;
/// How long a stop waits for work that was begun.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the device side takes from the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// At least one.
    pub shards: usize,
    pub exchange: ExchangeSettings,
    pub store: StoreSettings,
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
    pub commands: command::Settings,
    pub limits: limit::Settings,
    /// Who may use the HTTP face.
    pub credentials: Arc<Credentials>,
}

/// The channels of the network.
#[derive(Debug)]
pub struct Network {
    /// From the unsecured socket and the DTLS sessions.
    pub arrivals_in: mpsc::Receiver<Vec<Arrival>>,
    pub plain_out: mpsc::Sender<Vec<Datagram>>,
    /// Without a receiver, what is secured is not sent.
    pub secured_out: mpsc::Sender<Vec<Downward>>,
}

/// Tells when a task ends that must not: a dead shard would leave its devices without an answer
/// while everything looks well.
struct Vital {
    name: &'static str,
    intake: CancellationToken,
    ended: watch::Sender<Option<&'static str>>,
}

impl Drop for Vital {
    fn drop(&mut self) {
        if !self.intake.is_cancelled() {
            self.ended.send_replace(Some(self.name));
        }
    }
}

/// A running device side.
pub struct Platform {
    pub app: App,
    pub directory: Arc<Directory>,
    pub endpoint: endpoint::Figures,
    /// Who waits for a slot of its cell, and who has one.
    pub line: Arc<Line>,
    /// Stored sessions that may go on, until [`Platform::serve_dtls`] takes them.
    sessions: Vec<Stored>,
    intake: CancellationToken,
    tasks: Tasks,
    told: watch::Sender<Option<&'static str>>,
    ended: watch::Receiver<Option<&'static str>>,
}

impl Platform {
    /// Loads what must be in memory and starts to serve. Must be called inside a tokio runtime.
    /// `seed`: of retransmission jitter and first message ids; tokens come from the operating
    /// system.
    pub fn start(
        settings: &Settings,
        store: Arc<dyn Store>,
        clock: Clock,
        metrics: PrometheusHandle,
        network: Network,
        seed: u64,
    ) -> Result<Self, StoreError> {
        let (changes, changed) = mpsc::channel(CHANGE_QUEUE);
        let (senders, intakes) = Shards::new(settings.shards);
        let app = App::start(super::Parts {
            store: Arc::clone(&store),
            clock: clock.clone(),
            metrics,
            changes,
            shards: senders.link(),
            traced_devices_max: settings.traced_devices_max,
            batch: settings.batch,
            upgrade: settings.upgrade,
            replay: settings.replay,
            push: settings.push,
            packages: settings.packages.clone(),
            package_files: settings.package_files.clone(),
            codecs: settings.codecs,
            codec_worker: settings.codec_worker.clone(),
            dialer: settings.dialer.clone(),
            credentials: Arc::clone(&settings.credentials),
            codec_runner: None,
            known_packages: None,
        })?;
        let directory = Arc::new(Directory::default());
        let figures = Arc::new(Figures::new());
        let admission = settings.upgrade.admission();
        let (upgrades, news) = Upgrades::new(Arc::clone(&app.known_packages));
        let (outgoing, to_endpoint) = mpsc::channel(OUTGOING_QUEUE);
        let parts = shard::Parts {
            store: Arc::clone(&store),
            clock: clock.clone(),
            products: Arc::clone(&app.products),
            directory: Arc::clone(&directory),
            tracer: Arc::clone(&app.tracer),
            outbox: Arc::clone(&app.outbox),
            devices: Arc::clone(&app.devices),
            tasks: app.tasks.clone(),
            net: outgoing.clone(),
            codecs: Arc::clone(&app.codecs),
            figures: Arc::clone(&figures),
            upgrades,
            levels: admission.table,
            pending_max: settings.commands.pending_max,
            limits: settings.limits,
        };
        let line = Arc::clone(&app.line);
        let (shards, sessions) = load(settings.shards.max(1), &parts, &line)?;
        // Apart from the app's own tasks: these end in order, from the intake on.
        let tasks = Tasks::new();
        let intake = CancellationToken::new();
        let (told, ended) = watch::channel(None);
        let vital = |name, work| spawn_vital(&tasks, &intake, &told, name, work);
        for (shard, intake) in shards.into_iter().zip(intakes) {
            vital("shard", shard.run(intake).boxed());
        }
        let (events, arrived) = mpsc::channel(EVENT_QUEUE);
        let Network {
            arrivals_in,
            plain_out,
            secured_out,
        } = network;
        let shards_link = senders.link();
        let ingress = Ingress {
            store,
            directory: Arc::clone(&directory),
            net: outgoing,
            figures,
            shards: senders,
            sessions: secured_out.clone(),
            tracer: Arc::clone(&app.tracer),
            packages: Arc::clone(&app.packages),
            clock: clock.clone(),
        };
        app.devices.tell_lost_upgrades(Arc::clone(&line) as _);
        let (progress, fetches) = Fetches::new(clock.clone());
        app.packages.set_progress(Arc::new(progress));
        let campaigns: Arc<dyn Campaigns> = Arc::clone(&app.batches) as _;
        let waiting = Arc::clone(&line).run(news, fetches, shards_link, campaigns);
        vital("line", waiting.boxed());
        vital("ingress", ingress.run(arrived, changed).boxed());
        let endpoint_figures = endpoint::Figures::default();
        let channels = Channels {
            arrivals: arrivals_in,
            plain: plain_out,
            secured: secured_out,
            events,
            outgoing: to_endpoint,
        };
        let rng = fastrand::Rng::with_seed(seed);
        let running = endpoint::run(
            settings.exchange.clone(),
            clock.clone(),
            rng,
            channels,
            endpoint_figures.clone(),
            intake.clone(),
        );
        vital("endpoint", running.boxed());
        let sweep = retention::run(
            Arc::clone(&app.store),
            clock,
            settings.store.clone(),
            app.tasks.stop(),
        );
        app.tasks.spawn("retention", sweep);
        Ok(Self {
            app,
            directory,
            endpoint: endpoint_figures,
            line,
            sessions,
            intake,
            tasks,
            told,
            ended,
        })
    }

    /// Nobody serves DTLS: the stored sessions stay where they are stored.
    pub fn leave_sessions(&mut self) {
        self.sessions = Vec::new();
    }

    /// Serves DTLS over `channels`, going on with the stored sessions. Once.
    pub fn serve_dtls(
        &mut self,
        settings: dtls::Settings,
        random: Box<dyn dtls::Random>,
        channels: dtls::Channels,
    ) -> dtls::Figures {
        let figures = dtls::Figures::default();
        let durable = Sessions {
            store: Arc::clone(&self.app.store),
            products: Arc::clone(&self.app.products),
            tracer: Arc::clone(&self.app.tracer),
            clock: self.app.clock.clone(),
        };
        let running = dtls::run(
            settings,
            self.app.clock.clone(),
            random,
            Arc::new(durable),
            std::mem::take(&mut self.sessions),
            channels,
            figures.clone(),
        );
        spawn_vital(
            &self.tasks,
            &self.intake,
            &self.told,
            "dtls",
            running.boxed(),
        );
        figures
    }

    /// Resolves with the name of a task that ended although the server goes on: it can't, then.
    pub async fn broken(&self) -> &'static str {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(name)) => name,
            // Only when every task has ended.
            Ok(None) | Err(_) => "every task",
        }
    }

    /// Takes nothing new, finishes what was begun, then lets pushes end, and says which tasks had to
    /// be cancelled.
    pub async fn stop(self) -> Vec<&'static str> {
        self.intake.cancel();
        let mut cancelled = self.tasks.shut_down(PATIENCE).await;
        cancelled.extend(self.app.pushes.stop(PATIENCE).await);
        cancelled.extend(self.app.tasks.shut_down(PATIENCE).await);
        cancelled
    }
}

/// Spawns a task without which the server can't go on.
fn spawn_vital(
    tasks: &Tasks,
    intake: &CancellationToken,
    told: &watch::Sender<Option<&'static str>>,
    name: &'static str,
    work: BoxFuture<'static, ()>,
) {
    let guard = Vital {
        name,
        intake: intake.clone(),
        ended: told.clone(),
    };
    tasks.spawn(name, async move {
        let _guard = guard;
        work.await;
    });
}

/// Puts every device into the directory and its shard; gives the DTLS sessions that may go on.
fn load(
    count: usize,
    parts: &shard::Parts,
    line: &Line,
) -> Result<(Vec<Shard>, Vec<Stored>), StoreError> {
    let mut sessions = Resuming::read(parts.store.as_ref())?;
    let mut shards: Vec<Shard> = (0..count).map(|_| Shard::new(parts.clone())).collect();
    let now = parts.clock.now();
    // Of devices with the same address, the one that was heard last has it.
    let mut newest: HashMap<SocketAddr, Timestamp> = HashMap::new();
    parts.store.each_device(&mut |device, state| {
        let state = state.unwrap_or_default();
        sessions.join(&device, &state);
        let mut placement = Placement::of(&device, &state, now);
        placement.is_heard = matches!(placement.peer, Some(Peer::Secured(_)));
        if let (Some(Peer::Plain(address)), Some(heard_at)) = (placement.peer, state.last_seen_at) {
            let other = newest.entry(address).or_insert(heard_at);
            placement.is_heard = heard_at >= *other;
            *other = heard_at.max(*other);
        }
        if placement != Placement::default() {
            parts.directory.put(&device.device_id, &placement);
        }
        line.adopt(&device, &state);
        let deadline = timers::deadline(&device, &state, now);
        if let Some(shard) = shards.get_mut(shard_of(&device.device_id, count)) {
            shard.adopt(&device.device_id, deadline, &state);
        }
        ControlFlow::Continue(())
    })?;
    Ok((shards, sessions.finish()))
}
