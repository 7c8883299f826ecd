//! Use cases: load, step, commit, act. [`App`] holds the services that the HTTP face and the
//! shards call.

pub mod batch;
pub mod credentials;
pub mod deadlines;
pub mod device;
pub mod directory;
pub mod downlink;
pub mod due;
pub mod envelope;
pub mod figures;
pub mod ingress;
pub mod input;
pub mod outbox;
pub mod platform;
pub mod product;
pub mod registration;
pub mod retention;
pub mod sessions;
pub mod shard;
pub mod step;
pub mod tasks;
pub mod timers;
pub mod trace;
pub mod uplink;

use std::ops::ControlFlow;
use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::mpsc;

use crate::base::time::Clock;
use crate::store::{Store, StoreError};
use batch::Batches;
use device::{DeviceChange, Devices};
use outbox::Outbox;
use product::Products;
use tasks::Tasks;
use trace::Tracer;

/// The services of one server. Clones share them.
#[derive(Clone)]
pub struct App {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub products: Arc<Products>,
    pub devices: Arc<Devices>,
    pub batches: Arc<Batches>,
    pub outbox: Arc<Outbox>,
    pub tracer: Arc<Tracer>,
    pub tasks: Tasks,
    pub metrics: PrometheusHandle,
}

impl App {
    /// Loads what must be in memory. `changes` hears of each durable change of a device.
    /// Must be called inside a tokio runtime: batch tasks go on.
    pub fn start(
        store: Arc<dyn Store>,
        clock: Clock,
        metrics: PrometheusHandle,
        changes: mpsc::Sender<DeviceChange>,
        traced_devices_max: usize,
        batch: batch::Settings,
    ) -> Result<Self, StoreError> {
        let tasks = Tasks::new();
        let outbox = Arc::new(Outbox::new(Arc::clone(&store)));
        let products = Arc::new(Products::load(product::Parts {
            store: Arc::clone(&store),
            clock: clock.clone(),
            outbox: Arc::clone(&outbox),
            tasks: tasks.clone(),
        })?);
        let devices = Arc::new(Devices::new(device::Parts {
            store: Arc::clone(&store),
            clock: clock.clone(),
            outbox: Arc::clone(&outbox),
            tasks: tasks.clone(),
            products: Arc::clone(&products),
            changes,
        }));
        store.each_device(&mut |device, _| {
            devices.count_in(&device.product_id);
            ControlFlow::Continue(())
        })?;
        let tracer = Arc::new(Tracer::new(traced_devices_max));
        let batches = Batches::start(batch::Parts {
            store: Arc::clone(&store),
            clock: clock.clone(),
            tasks: tasks.clone(),
            devices: Arc::clone(&devices),
            products: Arc::clone(&products),
            tracer: Arc::clone(&tracer),
            settings: batch,
        })?;
        Ok(Self {
            store,
            clock,
            products,
            devices,
            batches,
            outbox,
            tracer,
            tasks,
            metrics,
        })
    }
}
