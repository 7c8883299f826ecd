//! Which devices: a condition, an order and a page. The store answers from its indexes.

use std::collections::HashSet;

use crate::base::ids::{AppId, DeviceId, NodeId, ProductId};
use crate::base::time::Timestamp;
use crate::engine::presence::Presence;
use crate::store::records::{DeviceRecord, StateRecord};

/// What a device must be.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// Anything.
    All,
    App(AppId),
    Product(ProductId),
    Device(DeviceId),
    Node(NodeId),
    /// The node id begins so.
    NodePrefix(String),
    /// The whole name.
    Name(String),
    NamePrefix(String),
    /// Behind this gateway; a device without one is its own.
    Gateway(DeviceId),
    /// Behind this gateway, or behind a device that is, at most [`CASCADE_DEPTH`] times.
    Below(DeviceId),
    /// Its own gateway.
    IsGateway,
    Frozen,
    /// Whether frozen or not. Right to the minute.
    Presence(Presence),
    FirmwareVersion(String),
    SoftwareVersion(String),
    /// Has a tag with such a key and such a value.
    Tag {
        key: TagText,
        value: TagText,
    },
    /// In the group with this `seq`.
    Group(u64),
    /// In whole seconds, both inclusive.
    Created {
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    },
    /// A smaller `seq`.
    SeqBelow(u64),
    /// A larger one.
    SeqAbove(u64),
    Not(Box<Self>),
    /// All of them; none: anything.
    And(Vec<Self>),
    /// One of them; none: nothing.
    Or(Vec<Self>),
}

/// What the key or the value of a tag must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagText {
    Any,
    Is(String),
    Begins(String),
}

impl TagText {
    pub fn fits(&self, text: &str) -> bool {
        self.fits_bytes(text.as_bytes())
    }

    /// As [`Self::fits`], of the text's UTF-8.
    pub fn fits_bytes(&self, text: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Is(whole) => text == whole.as_bytes(),
            Self::Begins(prefix) => text.starts_with(prefix.as_bytes()),
        }
    }

    /// What all that fits begins with.
    pub fn text(&self) -> &str {
        match self {
            Self::Any => "",
            Self::Is(text) | Self::Begins(text) => text,
        }
    }
}

/// Gateways above a device that [`Filter::Below`] looks at.
pub const CASCADE_DEPTH: usize = 8;

/// A page of the devices that fit.
#[derive(Debug, Clone)]
pub struct Find<'a> {
    pub filter: &'a Filter,
    /// For [`Filter::Presence`].
    pub now: Timestamp,
    pub order: FindOrder,
    /// Leaves out the first of them.
    pub offset: usize,
    pub limit: usize,
    /// Only beyond this `seq` in the order; `count` takes no notice.
    pub beyond: Option<u64>,
}

/// By `seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindOrder {
    NewestFirst,
    OldestFirst,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub devices: Vec<DeviceRecord>,
    /// All that fit, on whatever page. Devices of a product that is being deleted fit nothing.
    pub count: u64,
}

/// What is being deleted with all that belongs to it: nothing of it is there for anyone. One moment
/// parts before from after, for searches as well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leaving {
    pub products: HashSet<ProductId>,
    pub apps: HashSet<AppId>,
}

impl Leaving {
    /// Whether a product of this space, or what belongs to it, is gone.
    pub fn hides(&self, product: &ProductId, app: &AppId) -> bool {
        self.products.contains(product) || self.apps.contains(app)
    }
}

impl Filter {
    /// Whether a device fits. `gateway_of` tells whose gateway a device is behind.
    pub fn fits(
        &self,
        device: &DeviceRecord,
        state: Option<&StateRecord>,
        now: Timestamp,
        gateway_of: &dyn Fn(&DeviceId) -> Option<DeviceId>,
    ) -> bool {
        let second = |at: Timestamp| at.as_ms() / 1000;
        match self {
            Self::All => true,
            Self::App(id) => device.app_id == *id,
            Self::Product(id) => device.product_id == *id,
            Self::Device(id) => device.device_id == *id,
            Self::Node(id) => device.node_id == *id,
            Self::NodePrefix(prefix) => device.node_id.as_str().starts_with(prefix),
            Self::Name(name) => device.device_name.as_ref() == Some(name),
            Self::NamePrefix(prefix) => {
                let name = device.device_name.as_ref();
                name.is_some_and(|name| name.starts_with(prefix))
            }
            Self::Gateway(id) => device.gateway_id == *id,
            Self::Below(top) => {
                let mut at = Some(device.gateway_id.clone());
                for _ in 0..CASCADE_DEPTH {
                    match at {
                        Some(gateway) if gateway == *top => return true,
                        Some(gateway) => at = gateway_of(&gateway).filter(|up| *up != gateway),
                        None => return false,
                    }
                }
                false
            }
            Self::IsGateway => device.gateway_id == device.device_id,
            Self::Frozen => device.frozen,
            Self::Presence(presence) => {
                Presence::at(now, state.and_then(StateRecord::last_heard)) == *presence
            }
            Self::FirmwareVersion(version) => {
                state.and_then(|s| s.fw_version.as_ref()) == Some(version)
            }
            Self::SoftwareVersion(version) => {
                state.and_then(|s| s.sw_version.as_ref()) == Some(version)
            }
            Self::Tag { key, value } => device
                .tags
                .iter()
                .any(|tag| key.fits(&tag.tag_key) && value.fits(&tag.tag_value)),
            Self::Group(seq) => device.groups.contains(seq),
            Self::Created { from, to } => {
                let created = second(device.created_at);
                from.is_none_or(|from| created >= second(from))
                    && to.is_none_or(|to| created <= second(to))
            }
            Self::SeqBelow(seq) => device.seq < *seq,
            Self::SeqAbove(seq) => device.seq > *seq,
            Self::Not(filter) => !filter.fits(device, state, now, gateway_of),
            Self::And(all) => all.iter().all(|f| f.fits(device, state, now, gateway_of)),
            Self::Or(any) => any.iter().any(|f| f.fits(device, state, now, gateway_of)),
        }
    }
}
