//! Creation of a device: defaults, what must go together, and its first shadow.

use std::sync::Arc;

use super::{
    Beside, Desired, DeviceChangeKind, DeviceDetail, DeviceError, Devices, NewAuth, NewDevice,
    alone, check_secret, error, fresh_secret,
};
use crate::app::product::ProductRuntime;
use crate::app::shadow::{misfits, oversize};
use crate::base::ids::{AppId, DeviceId};
use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use crate::engine::shadow::misnamed;
use crate::product::check::Violation;
use crate::store::records::{AuthRecord, AuthType, DeviceRecord, ShadowRecord, StateRecord};
use crate::store::{Change, Commit, Guard};

impl Devices {
    /// Creates a device and emits `device:create`.
    pub async fn create(self: &Arc<Self>, new: NewDevice) -> Result<DeviceDetail, DeviceError> {
        self.create_beside(new, alone()).await
    }

    /// As [`Devices::create`].
    pub async fn create_beside(
        self: &Arc<Self>,
        new: NewDevice,
        beside: Beside,
    ) -> Result<DeviceDetail, DeviceError> {
        let this = Arc::clone(self);
        let create = async move { this.create_now(new, &beside).await };
        self.finish("device create", create).await
    }

    async fn create_now(
        &self,
        new: NewDevice,
        beside: &Beside,
    ) -> Result<DeviceDetail, DeviceError> {
        let product = self.parts.products.show(&new.product_id)?;
        self.check_space(new.app_id.as_ref(), &product)?;
        let now = self.parts.clock.now();
        let device_id = match new.device_id {
            Some(id) => id,
            None => DeviceId::parse(&format!("{}_{}", new.product_id, new.node_id))
                .map_err(|e| DeviceError::invalid("device_id", e))?,
        };
        let gateway_id = new.gateway_id.unwrap_or_else(|| device_id.clone());
        let mut guards = vec![
            Guard::ProductExists(new.product_id.clone()),
            Guard::AppExists(product.record.app_id.clone()),
            Guard::NodeFree(new.node_id.clone()),
            Guard::DeviceAbsent(device_id.clone()),
        ];
        if gateway_id != device_id {
            let gateway = self.gateway(&gateway_id, &product)?;
            guards.push(Guard::DeviceSeq(gateway_id.clone(), gateway.seq));
        }
        let auth = auth_of(new.auth, &product)?;
        let shadow = first_shadow(&product, &new.desired, now)?;
        let device = DeviceRecord {
            device_id: device_id.clone(),
            seq: self.parts.store.allocate_seq()?,
            version: 1,
            node_id: new.node_id,
            product_id: new.product_id,
            app_id: product.record.app_id.clone(),
            device_name: new.device_name,
            description: new.description,
            gateway_id,
            auth,
            extension_info: new.extension_info,
            frozen: false,
            created_at: now,
            tags: Vec::new(),
            groups: Vec::new(),
        };
        let mut changes = vec![Change::PutDevice(Box::new(device.clone()))];
        let state = (!shadow.is_empty()).then(|| StateRecord {
            version: 1,
            shadow,
            ..StateRecord::default()
        });
        if let Some(state) = &state {
            changes.push(Change::PutState(device_id.clone(), Box::new(state.clone())));
        }
        let detail = DeviceDetail {
            app_name: self.parts.spaces.name(&device.app_id),
            device,
            state,
            product: Some(product),
        };
        changes.push(self.event("create", &detail));
        changes.extend(beside(&detail));
        self.commit(Commit { guards, changes })
            .await
            .map_err(error::of_commit)?;
        self.tell(&device_id, DeviceChangeKind::Created, None).await;
        Ok(detail)
    }

    /// A device is in the space of its product.
    fn check_space(
        &self,
        given: Option<&AppId>,
        product: &ProductRuntime,
    ) -> Result<(), DeviceError> {
        let own = &product.record.app_id;
        let Some(given) = given.filter(|given| *given != own) else {
            return Ok(());
        };
        self.parts.spaces.check(given)?;
        let problem = format!("got {given}, the product is in {own}, takes that or none");
        Err(DeviceError::invalid("app_id", problem))
    }

    /// Another device, of the same space.
    fn gateway(
        &self,
        id: &DeviceId,
        product: &ProductRuntime,
    ) -> Result<DeviceRecord, DeviceError> {
        match self.record(id) {
            Ok(gateway) if gateway.app_id == product.record.app_id => Ok(gateway),
            Ok(_) | Err(DeviceError::NotFound(_)) => {
                let problem = format!("there is no device {id}, takes one or none");
                Err(DeviceError::invalid("gateway_id", problem))
            }
            Err(error) => Err(error),
        }
    }
}

fn auth_of(new: NewAuth, product: &ProductRuntime) -> Result<AuthRecord, DeviceError> {
    let auth_type = new.auth_type.unwrap_or(AuthType::Secret);
    let secret_given = new.secret.is_some();
    let secret = match new.secret {
        Some(secret) => {
            check_secret("auth_info.secret", &secret, Some(product))?;
            secret
        }
        // A device with a certificate has no secret unless it was given one.
        None if auth_type == AuthType::Certificates => Secret::new(String::new()),
        None => fresh_secret()?,
    };
    Ok(AuthRecord {
        auth_type,
        secret,
        secret_given,
        secondary_secret: None,
        secure_access: new.secure_access,
        fingerprint: new.fingerprint,
        timeout_s: new.timeout_s,
    })
}

/// The model's default values, and over them what the caller wants.
fn first_shadow(
    product: &ProductRuntime,
    desired: &[Desired],
    now: Timestamp,
) -> Result<Vec<ShadowRecord>, DeviceError> {
    let empty = |service_id: &str| ShadowRecord {
        service_id: service_id.to_owned(),
        version: 0,
        reported: serde_json::Map::new(),
        reported_at: None,
        desired: serde_json::Map::new(),
        desired_at: Some(now),
    };
    let mut shadow = Vec::new();
    for service in &product.record.profile.services {
        let mut one = empty(&service.service_id);
        for property in &service.properties {
            let default = property.default_value.as_ref().filter(|v| !v.is_null());
            let default = default.map(|v| (property.property_name.clone(), v.clone()));
            let default = serde_json::Map::from_iter(default);
            // A name that no shadow takes could not be taken back.
            if misnamed(&default).is_none() {
                one.desired.extend(default);
            }
        }
        if !one.desired.is_empty() {
            shadow.push(one);
        }
    }
    check_desired(product, desired)?;
    let defaults = shadow.clone();
    for want in desired {
        let at = shadow.iter().position(|s| s.service_id == want.service_id);
        let mut one = match at {
            Some(at) => shadow.remove(at),
            None => empty(&want.service_id),
        };
        let values = want.properties.iter().filter(|(_, v)| !v.is_null());
        one.desired
            .extend(values.map(|(k, v)| (k.clone(), v.clone())));
        shadow.push(one);
    }
    match oversize(&defaults, &shadow) {
        Some(violation) => Err(mistakes(vec![violation])),
        None => Ok(shadow),
    }
}

/// What is wanted must be in the model: tells all that is not, up to a bound.
fn check_desired(product: &ProductRuntime, desired: &[Desired]) -> Result<(), DeviceError> {
    let wishes = desired.iter().enumerate();
    let wishes = wishes.map(|(at, want)| (at, want.service_id.as_str(), &want.properties));
    match misfits(&product.record.profile, wishes) {
        found if found.is_empty() => Ok(()),
        found => Err(mistakes(found)),
    }
}

fn mistakes(found: Vec<Violation>) -> DeviceError {
    let told = found
        .into_iter()
        .map(|v| format!("{}: {}", v.path, v.message));
    DeviceError::Mistakes(told.collect())
}
