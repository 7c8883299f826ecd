//! Devices: created, shown, changed, frozen and deleted by their owner.
//!
//! The device record is written here alone, the state record by the device's shard alone; but for
//! the first one, which is part of the creation and holds what the application wants of the device.
//! Every durable change is emitted in its own commit and then told to the shards.

mod create;
mod delete;
mod error;
mod find;
mod freeze;
pub mod list;
pub mod members;
pub mod status;
mod tags;
pub mod view;

use std::sync::{Arc, RwLock};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::{Semaphore, mpsc};

use crate::app::envelope::{self, DeviceHeader};
use crate::app::outbox::Outbox;
use crate::app::product::{ProductRuntime, Products, random_hex};
use crate::app::space::Spaces;
use crate::app::tasks::Tasks;
use crate::base::ids::{AppId, DeviceId, NodeId, ProductId};
use crate::base::peer::DeviceSeq;
use crate::base::secret::Secret;
use crate::base::time::Clock;
use crate::bug;
use crate::product::settings::Psk;
use crate::store::records::{AuthType, DeviceRecord, EventRecord, StateRecord};
use crate::store::upgrades::UpgradeRecord;
use crate::store::{Change, Commit, CommitError, Guard, Store, StoreError};
use members::Members;
use status::DeviceStatus;

pub use error::DeviceError;
pub use find::DeviceFind;
pub use freeze::Beside;
use freeze::alone;
pub use tags::TAGS_MAX;

/// Tries of a change that others overtake.
const TRIES: usize = 5;

/// Searches at the same time: each holds a thread.
const SCANS: usize = 4;

/// What became durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceChange {
    pub device_id: DeviceId,
    pub what: DeviceChangeKind,
    /// The DTLS session that it ended, by its device.
    pub ends_session: Option<DeviceSeq>,
}

/// Which change of a device became durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChangeKind {
    Created,
    Updated,
    Deleted,
    Frozen,
    Unfrozen,
    SecretReset,
}

/// What [`Devices`] works with.
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub outbox: Arc<Outbox>,
    pub tasks: Tasks,
    pub products: Arc<Products>,
    pub spaces: Arc<Spaces>,
    /// Who drives devices. While it is full, changes wait; nothing is lost. So whoever empties it
    /// must not await a change of a device himself.
    pub changes: mpsc::Sender<DeviceChange>,
}

/// The devices of one server.
pub struct Devices {
    parts: Parts,
    members: Members,
    scans: Arc<Semaphore>,
    upgrades: RwLock<Vec<Arc<dyn LostUpgrades>>>,
}

/// Who is to know that an upgrade ended with its device.
pub trait LostUpgrades: Send + Sync {
    /// The device is deleted, and the subtask's row says so.
    fn lost(&self, device: &DeviceRecord, upgrade: &UpgradeRecord);
}

/// A device to create. Formats and lengths were checked by the caller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewDevice {
    /// `<product_id>_<node_id>` when absent.
    pub device_id: Option<DeviceId>,
    pub node_id: NodeId,
    pub device_name: Option<String>,
    pub product_id: ProductId,
    pub auth: NewAuth,
    pub description: Option<String>,
    /// The device itself when absent.
    pub gateway_id: Option<DeviceId>,
    /// The product's when absent.
    pub app_id: Option<AppId>,
    pub extension_info: Option<Value>,
    /// Desired properties by service.
    pub desired: Vec<Desired>,
}

/// How the device will prove itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NewAuth {
    /// `SECRET` when absent.
    pub auth_type: Option<AuthType>,
    pub secret: Option<Secret<String>>,
    pub fingerprint: Option<String>,
    pub secure_access: Option<bool>,
    /// Deleted when not activated within this time; 0 = never.
    pub timeout_s: u32,
}

/// What the application wants one service to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Desired {
    pub service_id: String,
    pub properties: Map<String, Value>,
}

/// What to change of a device: what is absent stays.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DevicePatch {
    pub device_name: Option<String>,
    pub description: Option<String>,
    pub extension_info: Option<Value>,
    pub secure_access: Option<bool>,
    pub timeout_s: Option<u32>,
}

/// Which of a device's two secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SecretKind {
    #[default]
    Primary,
    Secondary,
}

/// A device with what is known of it.
#[derive(Debug, Clone)]
pub struct DeviceDetail {
    pub device: DeviceRecord,
    pub state: Option<StateRecord>,
    pub product: Option<Arc<ProductRuntime>>,
    /// What people call its resource space.
    pub app_name: Arc<str>,
}

impl Devices {
    pub fn new(parts: Parts) -> Self {
        Self {
            parts,
            members: Members::default(),
            scans: Arc::new(Semaphore::new(SCANS)),
            upgrades: RwLock::default(),
        }
    }

    /// Which groups devices may name.
    pub const fn members(&self) -> &Members {
        &self.members
    }

    /// The device as it is now.
    pub fn show(&self, id: &DeviceId) -> Result<DeviceDetail, DeviceError> {
        let device = self.record(id)?;
        self.detail(device)
    }

    /// With its product, a device is gone from the moment when the deletion of that begins.
    fn record(&self, id: &DeviceId) -> Result<DeviceRecord, DeviceError> {
        let found = self.parts.store.device(id)?;
        found
            .filter(|device| self.parts.products.runtime(&device.product_id).is_some())
            .ok_or_else(|| DeviceError::NotFound(id.clone()))
    }

    fn detail(&self, device: DeviceRecord) -> Result<DeviceDetail, DeviceError> {
        Ok(DeviceDetail {
            state: self.parts.store.state(&device.device_id)?,
            product: self.parts.products.runtime(&device.product_id),
            app_name: self.parts.spaces.name(&device.app_id),
            device,
        })
    }

    /// Changes what `patch` names and emits `device:update`; nothing happens when all is as it was.
    pub async fn update(
        self: &Arc<Self>,
        id: DeviceId,
        patch: DevicePatch,
    ) -> Result<DeviceDetail, DeviceError> {
        self.update_beside(id, patch, alone()).await
    }

    /// As [`Devices::update`]. What is beside it is committed in any case.
    pub async fn update_beside(
        self: &Arc<Self>,
        id: DeviceId,
        patch: DevicePatch,
        beside: Beside,
    ) -> Result<DeviceDetail, DeviceError> {
        let change = (DeviceChangeKind::Updated, false, beside);
        self.change(id, change, move |device, _| {
            let DevicePatch {
                device_name,
                description,
                extension_info,
                secure_access,
                timeout_s,
            } = patch.clone();
            device.device_name = device_name.or_else(|| device.device_name.take());
            device.description = description.or_else(|| device.description.take());
            device.extension_info = extension_info.or_else(|| device.extension_info.take());
            device.auth.secure_access = secure_access.or(device.auth.secure_access);
            device.auth.timeout_s = timeout_s.unwrap_or(device.auth.timeout_s);
            Ok(())
        })
        .await
    }

    /// Gives the device a new secret; made up when `secret` is absent. Returns it. A session with
    /// the old one goes on, unless `disconnect` ends it.
    pub async fn reset_secret(
        self: &Arc<Self>,
        id: DeviceId,
        kind: SecretKind,
        secret: Option<Secret<String>>,
        disconnect: bool,
    ) -> Result<Secret<String>, DeviceError> {
        let given = secret.is_some();
        let secret = match secret {
            Some(secret) => secret,
            None => fresh_secret()?,
        };
        let reset = secret.clone();
        let change = (DeviceChangeKind::SecretReset, disconnect, alone());
        self.change(id, change, move |device, product| {
            check_secret("secret", &reset, product)?;
            match kind {
                SecretKind::Primary => {
                    device.auth.secret = reset.clone();
                    // A secret that the caller gave secures the device; a made-up one changes
                    // nothing about that.
                    device.auth.secret_given |= given;
                }
                SecretKind::Secondary => device.auth.secondary_secret = Some(reset.clone()),
            }
            Ok(())
        })
        .await?;
        Ok(secret)
    }

    /// Loads, applies `edit`, commits; again when somebody was faster. `change`: what it is, and
    /// whether it ends the device's DTLS session, and what is beside it.
    async fn change(
        self: &Arc<Self>,
        id: DeviceId,
        change: (DeviceChangeKind, bool, Beside),
        edit: impl Fn(&mut DeviceRecord, Option<&ProductRuntime>) -> Result<(), DeviceError>
        + Send
        + Sync
        + 'static,
    ) -> Result<DeviceDetail, DeviceError> {
        let this = Arc::clone(self);
        let (what, disconnects, beside) = change;
        self.finish("device change", async move {
            for _ in 0..TRIES {
                let mut detail = this.show(&id)?;
                let old = detail.device.clone();
                edit(&mut detail.device, detail.product.as_deref())?;
                // The same secret again may still be there to cut the device off.
                let cuts = disconnects && what == DeviceChangeKind::SecretReset;
                if detail.device == old && !cuts {
                    this.commit_alone(beside(&detail)).await?;
                    return Ok(detail);
                }
                detail.device.version = old.version.saturating_add(1);
                // Groups that are gone go from here, too.
                detail
                    .device
                    .groups
                    .retain(|seq| this.members.is_open(*seq));
                let event = match what {
                    DeviceChangeKind::Frozen | DeviceChangeKind::Unfrozen => this.status(&detail),
                    _ => this.event("update", &detail),
                };
                let mut changes = vec![Change::PutDevice(Box::new(detail.device.clone())), event];
                let ends_session = disconnects.then_some(DeviceSeq(old.seq));
                changes.extend(ends_session.map(Change::DeleteSession));
                changes.extend(beside(&detail));
                let guards = vec![
                    Guard::DeviceVersion(id.clone(), old.version),
                    // Deleted and created anew, a device may have the version of the former one.
                    Guard::DeviceSeq(id.clone(), old.seq),
                ];
                let commit = Commit { guards, changes };
                match this.commit(commit).await {
                    Ok(()) => {
                        this.tell(&id, what, ends_session).await;
                        return Ok(detail);
                    }
                    Err(CommitError::Conflict(Guard::DeviceVersion(..) | Guard::DeviceSeq(..))) => {
                    }
                    Err(error) => return Err(error::of_commit(error)),
                }
            }
            Err(DeviceError::Contended)
        })
        .await
    }

    fn event(&self, event: &'static str, detail: &DeviceDetail) -> Change {
        let at = self.parts.clock.now();
        let body = view::DeviceEvent::of(detail, at);
        let envelopes = match envelope::device_change(event, &detail.device, &body, at) {
            Ok(envelope) => vec![envelope],
            Err(error) => {
                bug!("device event can't be written: {error}");
                Vec::new()
            }
        };
        Change::Emit(Box::new(EventRecord { at, envelopes }))
    }

    fn status(&self, detail: &DeviceDetail) -> Change {
        let at = self.parts.clock.now();
        let state = detail.state.as_ref();
        let status = DeviceStatus::of(&detail.device, state, at);
        let envelope = envelope::device_status(
            &DeviceHeader::from(&detail.device),
            status.as_str(),
            state.and_then(status::last_heard),
            at,
        );
        Change::Emit(Box::new(EventRecord {
            at,
            envelopes: vec![envelope],
        }))
    }

    /// Commits what would have been beside a change that changes nothing.
    async fn commit_alone(&self, changes: Vec<Change>) -> Result<(), DeviceError> {
        if changes.is_empty() {
            return Ok(());
        }
        let guards = Vec::new();
        let commit = self.commit(Commit { guards, changes });
        commit.await.map_err(error::of_commit)
    }

    async fn commit(&self, commit: Commit) -> Result<(), CommitError> {
        self.parts.store.commit(commit).await?;
        self.parts.outbox.notify();
        Ok(())
    }

    /// Tells the shards; waits while they have too much to do.
    async fn tell(
        &self,
        device_id: &DeviceId,
        what: DeviceChangeKind,
        ends_session: Option<DeviceSeq>,
    ) {
        let change = DeviceChange {
            device_id: device_id.clone(),
            what,
            ends_session,
        };
        if self.parts.changes.send(change).await.is_err() {
            // The server is ending: the shards read the store when they start again.
            tracing::debug!(%device_id, ?what, "nobody listens to device changes any more");
        }
    }

    /// Runs a change to its end, also when the caller hangs up.
    async fn finish<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, DeviceError>> + Send + 'static,
    ) -> Result<T, DeviceError> {
        match self.parts.tasks.finish(name, work).await {
            Some(result) => result,
            None => Err(StoreError::Closed.into()),
        }
    }
}

/// 128 random bits as 32 hex characters.
fn fresh_secret() -> Result<Secret<String>, DeviceError> {
    Ok(Secret::new(random_hex::<16>()?))
}

/// A CoAP device's secret is its DTLS key, written in hex unless the product says text.
fn check_secret(
    field: &str,
    secret: &Secret<String>,
    product: Option<&ProductRuntime>,
) -> Result<(), DeviceError> {
    let is_hex_key =
        product.is_some_and(|p| p.record.protocol_type == "CoAP" && p.settings.psk == Psk::Hex);
    let text = secret.expose();
    let is_hex = text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit());
    if is_hex_key && !is_hex {
        return Err(DeviceError::invalid(
            field,
            format!(
                "a CoAP device takes a secret of 8 to 32 hexadecimal characters, an even number \
                 (got {} characters), unless its product's setting psk is text",
                text.len()
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::base::time::Timestamp;
    use crate::store::records::AuthRecord;

    pub(crate) fn record(node: &str) -> DeviceRecord {
        let device_id = DeviceId::parse(&format!("p_{node}")).unwrap();
        DeviceRecord {
            gateway_id: device_id.clone(),
            device_id,
            seq: 1,
            version: 1,
            node_id: NodeId::parse(node).unwrap(),
            product_id: ProductId::parse("p").unwrap(),
            app_id: AppId::parse("default").unwrap(),
            device_name: None,
            description: None,
            auth: AuthRecord {
                auth_type: AuthType::Secret,
                secret: Secret::new("00112233".into()),
                secret_given: false,
                secondary_secret: None,
                secure_access: None,
                fingerprint: None,
                timeout_s: 0,
            },
            extension_info: None,
            frozen: false,
            created_at: Timestamp::from_ms(0),
            tags: Vec::new(),
            groups: Vec::new(),
        }
    }
}
