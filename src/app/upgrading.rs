//! What goes between campaigns, the line and the shards about upgrades of devices: packages, orders and
//! news. Plain data; what is done with it is in `upgrade`.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::ids::{AppId, DeviceId, ProductId};
use crate::base::time::Timestamp;
use crate::engine::batch::State;
use crate::engine::sota::Plan;
use crate::engine::upgrade::{Kind, Target};
use crate::store::package_files::FilesError;
use crate::store::upgrades::{PlaceRecord, RetryRecord};
use crate::store::{Change, Guard};
use crate::wire::pcp::{
    FragmentError, FragmentSize, FramedError, FramedPackage, Version, VersionError,
};

/// What the steps need of a package.
#[derive(Debug, Clone)]
pub struct Package {
    pub package_id: String,
    /// Whose devices take it, and the space that it is in.
    pub product_id: ProductId,
    pub app_id: AppId,
    pub kind: Kind,
    /// What the device reports afterwards.
    pub version: String,
    /// Versions that it may have before; empty: any.
    pub sources: Vec<String>,
    /// Where devices fetch it with CoAP, and where over DTLS: the same for every attempt, so that a
    /// download that broke off goes on.
    pub coap_uri: String,
    pub coaps_uri: String,
    pub size: u64,
    /// Of a firmware package: its bytes, for devices that it is written to.
    pub image: Option<Arc<dyn Image>>,
    /// Of a software package: what devices are told of it, and its fragments, ready to be sent.
    pub software: Option<Software>,
}

/// The bytes of a package.
pub trait Image: fmt::Debug + Send + Sync {
    /// All of them, once in memory for all who have them at the same time. May read the file on the
    /// caller's thread.
    fn whole(&self) -> Result<Bytes, FilesError>;
}

/// A software package as PCP has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Software {
    pub plan: Plan,
    pub frames: FramedPackage,
}

impl Software {
    /// Frames a package. Errors: its version or number of fragments is none that PCP can carry.
    pub fn new(version: &str, fragment_size: u16, bytes: &[u8]) -> Result<Self, SoftwareError> {
        let size = FragmentSize::new(fragment_size)?;
        let version = Version::parse(version)?;
        let frames = FramedPackage::new(bytes, size)?;
        let count = frames.layout().count();
        Ok(Self {
            plan: Plan {
                version,
                size,
                count,
            },
            frames,
        })
    }
}

/// Why bytes are no software package.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SoftwareError {
    #[error(transparent)]
    Version(#[from] VersionError),
    #[error(transparent)]
    Fragments(#[from] FragmentError),
    #[error(transparent)]
    Framed(#[from] FramedError),
}

impl Package {
    pub fn target(&self) -> Target<'_> {
        Target {
            version: &self.version,
            sources: &self.sources,
        }
    }
}

/// Who knows the packages.
pub trait Packages: Send + Sync {
    /// A package with its bytes; `None`: there is none.
    fn find(&self, package_id: &str) -> Option<Arc<Package>>;
}

/// What is asked of a device's upgrade.
#[derive(Debug, Clone)]
pub enum UpgradeOrder {
    Begin(Box<Begin>),
    /// It has a slot of this place now.
    Admit {
        task_seq: u64,
        place: PlaceRecord,
    },
    /// It has fetched so much of the package by CoAP, in blocks of 512 bytes.
    Fetched {
        done: u32,
        total: u32,
    },
    /// It took so many bytes of the package, which is written to it.
    Pushed {
        done: u32,
        total: u32,
    },
    /// The campaign is stopped for this device.
    Stop {
        task_seq: u64,
    },
}

/// An attempt begins.
#[derive(Debug, Clone)]
pub struct Begin {
    pub task_seq: u64,
    /// The device's place in the campaign.
    pub index: u32,
    pub package: Arc<Package>,
    /// Attempts begun, this one included.
    pub tries: u32,
    pub retry: RetryRecord,
    /// Committed with it, or not at all: the subtask is under way.
    pub guards: Vec<Guard>,
    pub changes: Vec<Change>,
}

/// What became of such an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Began {
    UnderWay,
    /// Another campaign has the device.
    Conflict,
    /// It has no such upgrade, or not at this step: a reservation is to be taken back.
    Gone,
}

/// What is durable now, for those who look over all devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    pub device_id: DeviceId,
    pub device_seq: u64,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// It waits for a slot.
    Waits {
        task_seq: u64,
        place: PlaceRecord,
        /// Its rank: when it was first measured.
        ranked_at: Timestamp,
        /// Attempts before this one.
        attempt: u8,
        /// How long it listens; `None`: it sleeps.
        awake_until: Option<Timestamp>,
    },
    /// It neither waits nor holds a slot.
    Left,
    /// It has so many of the fragments or blocks of the package.
    Moved { done: u32, total: u32 },
    /// The attempt ended.
    Ended {
        task_seq: u64,
        index: u32,
        state: State,
    },
}
