//! `strait serve`: the server.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::api;
use crate::api::server;
use crate::api::server::tls::Tls;
use crate::app::credentials::file::{self, Stamp};
use crate::app::credentials::{Credentials, KeySet, edit, watch};
use crate::app::platform::{Network, Platform, Settings};
use crate::app::tasks::{Stop, Tasks};
use crate::base::time::{Clock, Timestamp};
use crate::config::{self, Config, ConfigError, Listen};
use crate::engine::exchange::Settings as ExchangeSettings;
use crate::net::endpoint::DATAGRAM_QUEUE;
use crate::net::udp;
use crate::net::webhook::Dialer;
use crate::net::{Arrival, Datagram, dtls};
use crate::store::Store;
use crate::store::disk::DiskStore;
use crate::store::generation::Generation;
use crate::store::lock::DataLock;
use crate::store::package_files::PackageFiles;
use crate::telemetry;

/// Arguments of `strait serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration file (TOML); `strait config` prints a template
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory [default: ./data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Address for applications [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Address for CoAP devices, or `off` [default: 0.0.0.0:5683]
    #[arg(long, value_name = "ADDR")]
    coap: Option<Listen>,
    /// Address for CoAP devices over DTLS, or `off` [default: 0.0.0.0:5684]
    #[arg(long, value_name = "ADDR")]
    coaps: Option<Listen>,
    /// Let everyone who reaches the HTTP address do everything; only on loopback
    #[arg(long)]
    no_auth: bool,
}

/// Runs the server until SIGTERM or Ctrl-C.
pub fn run(args: Args) -> ExitCode {
    let (config, tls) = match configure(args) {
        Ok(configured) => configured,
        Err(error) => {
            complain(&format_args!("{error}"));
            return ExitCode::from(2);
        }
    };
    if let Err(error) = telemetry::install_logging(&config.log.filter, config.log.format) {
        complain(&format_args!("log: {error}"));
        return ExitCode::from(2);
    }
    let served = telemetry::install_metrics()
        .context("metrics")
        .and_then(|metrics| {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()?;
            runtime.block_on(serve(&config, tls, metrics))
        });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// File, environment, flags; checked.
fn configure(args: Args) -> Result<(Config, Option<Arc<Tls>>), ConfigError> {
    let mut config = config::load(args.config.as_deref(), std::env::vars())?;
    if let Some(data) = args.data {
        config.data = data;
    }
    if let Some(http) = args.http {
        config.http.listen = http;
    }
    if let Some(coap) = args.coap {
        config.net.coap = coap;
    }
    if let Some(coaps) = args.coaps {
        config.net.coaps = coaps;
    }
    config.http.no_auth |= args.no_auth;
    config.check()?;
    let tls = config.http.tls()?;
    Ok((config, tls))
}

async fn serve(
    config: &Config,
    tls: Option<Arc<Tls>>,
    metrics: PrometheusHandle,
) -> anyhow::Result<()> {
    // Before anything is bound, so that a signal during the start is not lost.
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let running = Running::start(config, tls, metrics).await?;
    let address =
        |bound: Option<SocketAddr>| bound.map_or_else(|| "-".to_owned(), |a| a.to_string());
    let ready = format!(
        "ready http={} coap={} coaps={}",
        running.http,
        address(running.coap),
        address(running.coaps)
    );
    let mut stdout = std::io::stdout();
    // Whoever started the server may not read its output.
    drop(writeln!(stdout, "{ready}").and_then(|()| stdout.flush()));
    tracing::info!("{ready}");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        name = running.platform.broken() => {
            // Whoever supervises the process starts it again, and nothing acknowledged is lost.
            running.stop().await;
            anyhow::bail!("the task {name} ended, so the server can't go on: please report it");
        }
    }
    tracing::info!("stopping");
    running.stop().await;
    Ok(())
}

/// A server with its listeners.
pub struct Running {
    pub http: SocketAddr,
    /// `None`: off.
    pub coap: Option<SocketAddr>,
    pub coaps: Option<SocketAddr>,
    platform: Platform,
    store: Arc<DiskStore>,
    generation: Arc<Generation>,
    /// Held until the store is closed.
    lock: DataLock,
    http_server: api::Server,
    sockets: Vec<tokio::task::JoinHandle<()>>,
    /// Kept open, so that the device side lives on without a socket: timers, presence.
    inlet: mpsc::Sender<Vec<Arrival>>,
}

impl Running {
    /// Opens the data directory, binds the listeners and serves.
    pub async fn start(
        config: &Config,
        tls: Option<Arc<Tls>>,
        metrics: PrometheusHandle,
    ) -> anyhow::Result<Self> {
        let clock = Clock::System;
        let lock = DataLock::hold(&config.data)?;
        let callers = Callers::load(config, clock.now())?;
        let key = config.store.key_path(&config.data);
        let store = DiskStore::open_with_key(&config.data.join("store"), &config.store, &key)?;
        let store = Arc::new(store);
        let generation = config.store.generation_path(&config.data);
        let (generation, _) = Generation::check(&store, &generation)?;
        let generation = Arc::new(generation);
        let listener = TcpListener::bind(config.http.listen)
            .await
            .with_context(|| format!("http.listen {}", config.http.listen))?;
        let http = listener.local_addr()?;
        let (arrivals, arrivals_in) = mpsc::channel(DATAGRAM_QUEUE);
        let (plain_out, outgoing) = mpsc::channel(DATAGRAM_QUEUE);
        let (secured_out, downward) = mpsc::channel(DATAGRAM_QUEUE);
        let (plain, coap) = bind("net.coap", config.net.coap)?.unzip();
        let (secured, coaps) = bind("net.coaps", config.net.coaps)?.unzip();
        let mut platform = Platform::start(
            &settings(config, &callers.credentials),
            Arc::clone(&store) as Arc<dyn Store>,
            clock,
            metrics,
            Network {
                arrivals_in,
                plain_out,
                secured_out,
            },
            getrandom::u64().map_err(|e| anyhow::anyhow!("no randomness: {e}"))?,
        )?;
        let counters = Arc::new(udp::Counters::default());
        let mut sockets = Vec::new();
        if let Some(socket) = secured {
            let (datagrams_in, datagrams) = mpsc::channel(DATAGRAM_QUEUE);
            let (datagrams_out, outgoing) = mpsc::channel(DATAGRAM_QUEUE);
            let channels = dtls::Channels {
                datagrams,
                datagrams_out,
                arrivals: arrivals.clone(),
                downward,
            };
            let settings = config.dtls.settings()?;
            let figures = platform.serve_dtls(settings, Box::new(dtls::OsRandom), channels);
            let udp = Arc::new(udp::Counters::default());
            let tasks = &platform.app.tasks;
            tasks.spawn(
                "DTLS figures",
                telemetry::watch_dtls(figures, Arc::clone(&udp), tasks.stop()),
            );
            sockets.push(spawn_socket(socket, datagrams_in, outgoing, udp));
        } else {
            platform.leave_sessions();
        }
        let tasks = &platform.app.tasks;
        let figures = (platform.endpoint.clone(), Arc::clone(&counters));
        tasks.spawn(
            "network figures",
            telemetry::watch_network(figures.0, figures.1, tasks.stop()),
        );
        let stored = Arc::clone(&store) as Arc<dyn Store>;
        tasks.spawn(
            "gauges",
            telemetry::gauges::watch(config.data.clone(), stored, Clock::System, tasks.stop()),
        );
        tasks.spawn(
            "metrics upkeep",
            telemetry::keep_up(platform.app.metrics.clone(), tasks.stop()),
        );
        tasks.spawn(
            "generation",
            keep_generation(Arc::clone(&generation), Arc::clone(&store), tasks.stop()),
        );
        let inlet = arrivals.clone();
        if let Some(socket) = plain {
            sockets.push(spawn_socket(socket, arrivals, outgoing, counters));
        }
        callers.follow(tasks);
        warn_of_exposure(http, tls.is_none() && !config.http.no_auth);
        let serving = server::Settings {
            connections_max: config.http.connections_max,
            connections_per_address: config.http.connections_per_address,
            idle: Duration::from_secs(config.http.idle_s),
            body: Duration::from_secs(config.http.body_s),
            unverified_max: config.http.unverified_mb.saturating_mul(1024 * 1024),
            tls,
        };
        let http_server = api::Server::start(platform.app.clone(), listener, serving);
        Ok(Self {
            http,
            coap,
            coaps,
            platform,
            store,
            generation,
            lock,
            http_server,
            sockets,
            inlet,
        })
    }

    /// Takes nothing new, finishes what was begun, closes the store.
    pub async fn stop(self) {
        // First of all, so that those who follow events let go of their connections.
        self.platform.app.tasks.request_stop();
        self.http_server.stop().await;
        drop(self.inlet);
        let cancelled = self.platform.stop().await;
        if !cancelled.is_empty() {
            tracing::warn!(?cancelled, "tasks did not end by themselves");
        }
        for socket in self.sockets {
            drop(socket.await);
        }
        let (store, generation) = (self.store, self.generation);
        let closed = tokio::task::spawn_blocking(move || {
            if let Err(error) = generation.bump_if_changed(&store) {
                tracing::warn!(%error, "an older copy of the database may pass for the newest");
            }
            store.close();
        });
        drop(closed.await);
        drop(self.lock);
    }
}

/// How often the generation moves on while sessions change.
const GENERATION_EVERY: Duration = Duration::from_secs(60);

/// Lets older copies of the database be told from it.
async fn keep_generation(generation: Arc<Generation>, store: Arc<DiskStore>, mut stop: Stop) {
    loop {
        tokio::select! {
            () = stop.requested() => return,
            () = tokio::time::sleep(GENERATION_EVERY) => {}
        }
        let (generation, store) = (Arc::clone(&generation), Arc::clone(&store));
        let moved = tokio::task::spawn_blocking(move || generation.bump_if_changed(&store));
        match moved.await {
            Ok(Ok(moved)) => tracing::debug!(moved, "generation"),
            Ok(Err(error)) => tracing::warn!(%error, "the generation stands, trying again"),
            Err(error) => tracing::warn!(%error, "the generation stands, trying again"),
        }
    }
}

/// A bound socket and its address; `None` when it is off.
fn bind(field: &str, listen: Listen) -> anyhow::Result<Option<(udp::Socket, SocketAddr)>> {
    let Listen::On(address) = listen else {
        return Ok(None);
    };
    let socket = udp::Socket::bind(address).with_context(|| format!("{field} {address}"))?;
    let bound = socket.local_addr()?;
    Ok(Some((socket, bound)))
}

fn spawn_socket(
    socket: udp::Socket,
    incoming: mpsc::Sender<Vec<Arrival>>,
    outgoing: mpsc::Receiver<Vec<Datagram>>,
    counters: Arc<udp::Counters>,
) -> tokio::task::JoinHandle<()> {
    #[expect(clippy::disallowed_methods, reason = "joined by Running::stop")]
    tokio::spawn(socket.run(incoming, outgoing, counters))
}

/// Who may use the HTTP face.
struct Callers {
    credentials: Arc<Credentials>,
    /// The file as it was read; `None`: nobody is asked.
    file: Option<(PathBuf, Stamp)>,
}

impl Callers {
    /// Reads the credentials; at the first start, makes them.
    fn load(config: &Config, now: Timestamp) -> anyhow::Result<Self> {
        if config.http.no_auth {
            return Ok(Self {
                credentials: Arc::new(Credentials::nobody_asked()),
                file: None,
            });
        }
        let ((rows, stamp), is_new) = edit::open_or_create(&config.data, now)?;
        let path = file::path_in(&config.data);
        if is_new {
            let note = format!("credentials of the first admin are in {}", path.display());
            drop(writeln!(std::io::stderr(), "{note}"));
        }
        let set: KeySet = rows.into_iter().collect();
        if !set.has_admin() {
            tracing::warn!(file = %path.display(), "no credential is an admin's");
        }
        let skew = Duration::from_secs(config.http.clock_skew_s);
        Ok(Self {
            credentials: Arc::new(Credentials::of(set, skew)),
            file: Some((path, stamp)),
        })
    }

    /// Keeps up with the file.
    fn follow(self, tasks: &Tasks) {
        if let Some((path, stamp)) = self.file {
            let following = watch::run(self.credentials, path, stamp, watch::EVERY, tasks.stop());
            tasks.spawn("credentials", following);
        }
    }
}

/// Secrets of callers in the clear are for networks that one trusts.
fn warn_of_exposure(http: SocketAddr, is_clear: bool) {
    if is_clear && !http.ip().is_loopback() {
        tracing::warn!(
            %http,
            "tokens and data cross the network in the clear: set http.tls_cert and http.tls_key, \
             or put a proxy with TLS before it"
        );
    }
}

fn settings(config: &Config, credentials: &Arc<Credentials>) -> Settings {
    let shards = match config.net.shards {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        shards => shards,
    };
    Settings {
        shards,
        exchange: ExchangeSettings {
            peers_max: config.net.peers_max,
            separate_after: Duration::from_millis(config.net.separate_after_ms),
            ..ExchangeSettings::default()
        },
        store: config.store.clone(),
        traced_devices_max: config.trace.devices_max,
        batch: config.batch,
        upgrade: config.upgrade,
        replay: config.replay,
        push: config.push,
        packages: config.packages.clone(),
        package_files: PackageFiles::of(&config.data),
        codecs: config.codecs,
        codec_worker: None,
        dialer: match config.push.public_only {
            true => Dialer::Public,
            false => Dialer::Network,
        },
        commands: config.commands,
        limits: config.limits,
        credentials: Arc::clone(credentials),
    }
}

fn complain(what: &std::fmt::Arguments<'_>) {
    drop(writeln!(std::io::stderr(), "strait serve: {what}"));
}
