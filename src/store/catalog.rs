//! On-disk forms of what applications arrange around devices: resource spaces, groups, batch tasks
//! with their files, CA certificates; and the audit log. Rules of `records.rs`; `version` comes first,
//! so that guards read it alone.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::ids::{AppId, CertificateId, FileId, GroupId, TaskId};
use crate::base::time::Timestamp;
use crate::engine::upgrade::Kind;

/// The field that guards ask for, of the records here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionHead {
    pub version: u64,
}

/// A resource space.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AppRecord {
    /// Counts the writes of this record, from 1.
    pub version: u64,
    pub app_id: AppId,
    pub seq: u64,
    pub app_name: String,
    /// Takes what names no space. One space is it, for good.
    pub is_default: bool,
    /// Being deleted with all that belongs to it: it is not there any more for anyone.
    pub deleting: bool,
    pub created_at: Timestamp,
}

/// A group of devices. Its members are told by the devices (`DeviceRecord::groups`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// Counts the writes of this record, from 1.
    pub version: u64,
    pub group_id: GroupId,
    /// Never given twice, so a device may name a group that is gone.
    pub seq: u64,
    pub app_id: AppId,
    pub name: String,
    pub description: Option<String>,
    pub super_group_id: Option<GroupId>,
    /// Its members are those that this condition fits: then no device names it.
    pub dynamic_group_rule: Option<String>,
    pub created_at: Timestamp,
    pub modified_at: Timestamp,
}

/// A batch task. Its targets are its subtasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// Counts the writes of this record, from 1.
    pub version: u64,
    pub task_id: TaskId,
    pub seq: u64,
    pub app_id: AppId,
    pub task_name: String,
    pub task_type: TaskType,
    pub task_mode: Option<String>,
    pub need_confirm: Option<bool>,
    pub task_ext_info: Option<Value>,
    /// Whether the caller named the targets one by one.
    pub has_targets: bool,
    pub targets_filter: Option<Value>,
    /// As the caller gave it; of devices to create it holds nothing, for they are subtasks.
    pub document: Option<Value>,
    pub document_source: Option<FileId>,
    /// What each subtask does that has no input of its own.
    pub work: Option<Value>,
    /// Its targets are of this space alone: who made the task is bound to it.
    pub space: Option<AppId>,
    pub policy: Option<PolicyRecord>,
    /// Number of subtasks.
    pub total: u32,
    pub phase: TaskPhase,
    /// How its subtasks ended, written when the task ends.
    pub counts: CountsRecord,
    pub status_desc: Option<String>,
    pub created_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// Of a task that upgrades devices.
    #[serde(default)]
    pub campaign: Option<CampaignRecord>,
}

/// What a task that upgrades devices has beyond others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CampaignRecord {
    pub package_id: String,
    /// No further device begins nor gets a slot.
    pub paused: bool,
    pub canary: Option<CanaryRecord>,
    pub window: Option<WindowRecord>,
}

/// `engine::batch::Canary`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryRecord {
    pub share_percent: u32,
    pub max_failure_percent: u32,
    pub min_results: u32,
}

/// `engine::batch::Window`: minutes of the day there, and how far that is ahead of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowRecord {
    pub from_min: u32,
    pub to_min: u32,
    pub utc_offset_min: i32,
}

/// What a batch task does to each target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TaskType {
    CreateDevices,
    DeleteDevices,
    FreezeDevices,
    UnfreezeDevices,
    UpdateDevices,
    CreateAsyncCommands,
    UpdateDeviceShadows,
    FirmwareUpgrade,
    SoftwareUpgrade,
}

impl TaskType {
    /// The word of the v5 API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::CreateDevices => "createDevices",
            Self::DeleteDevices => "deleteDevices",
            Self::FreezeDevices => "freezeDevices",
            Self::UnfreezeDevices => "unfreezeDevices",
            Self::UpdateDevices => "updateDevices",
            Self::CreateAsyncCommands => "createAsyncCommands",
            Self::UpdateDeviceShadows => "updateDeviceShadows",
            Self::FirmwareUpgrade => "firmwareUpgrade",
            Self::SoftwareUpgrade => "softwareUpgrade",
        }
    }

    /// What it brings to devices, if it upgrades them.
    pub const fn upgrades(self) -> Option<Kind> {
        match self {
            Self::FirmwareUpgrade => Some(Kind::Firmware),
            Self::SoftwareUpgrade => Some(Kind::Software),
            Self::CreateDevices
            | Self::DeleteDevices
            | Self::FreezeDevices
            | Self::UnfreezeDevices
            | Self::UpdateDevices
            | Self::CreateAsyncCommands
            | Self::UpdateDeviceShadows => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskPhase {
    /// Runs when the time of its policy has come.
    Scheduled,
    Running,
    /// No further subtask begins.
    Stopping,
    Stopped,
    /// Every subtask has ended.
    Ended,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRecord {
    pub schedule_at: Option<Timestamp>,
    pub retry_count: u32,
    pub retry_interval_min: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CountsRecord {
    pub success: u32,
    pub fail: u32,
    pub stopped: u32,
    pub removed: u32,
}

/// One target of a batch task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubtaskRecord {
    /// A device id; of a device to create what the caller named it by.
    pub target: String,
    /// What is done to this target alone; gone once it is done. May hold a secret: it is sealed.
    pub input: Option<Value>,
    /// What was given for it is wrong: it failed before a try, and no other try is made.
    pub refused: bool,
    pub state: SubtaskState,
    /// Tries so far.
    pub tries: u32,
    pub output: Option<String>,
    pub error: Option<SubtaskError>,
    /// It begins when somebody has confirmed it.
    #[serde(default)]
    pub unconfirmed: bool,
}

/// One that was begun and not finished still waits here: what it does and its end are one commit. Not so
/// an upgrade, which takes days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SubtaskState {
    Waiting,
    Success,
    Fail,
    /// Tried again at this time.
    FailWaitRetry {
        at: Timestamp,
    },
    Stopped,
    Removed,
    /// The upgrade of its device is under way: the device's own row says how far.
    Processing,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubtaskError {
    /// A code of the API, or the kind of the error that it has a code for.
    pub error_code: String,
    pub error_msg: String,
}

/// A file for batch tasks, without its bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileRecord {
    pub file_id: FileId,
    pub seq: u64,
    /// The space of who uploaded it; `None`: of a caller for all spaces.
    pub app_id: Option<AppId>,
    pub file_name: String,
    pub uploaded_at: Timestamp,
}

/// The bytes of a [`FileRecord`]. They may hold secrets: they are sealed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileContent {
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

/// A CA certificate that signs devices' certificates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CertificateRecord {
    /// Counts the writes of this record, from 1.
    pub version: u64,
    pub certificate_id: CertificateId,
    pub seq: u64,
    pub app_id: AppId,
    pub cn_name: Option<String>,
    pub owner: Option<String>,
    /// Whether its owner has proven to have its key.
    pub verified: bool,
    pub verify_code: String,
    pub provision_enable: bool,
    pub template_id: Option<String>,
    pub ocsp_enable: bool,
    pub ocsp_ssl_enable: bool,
    pub ocsp_server_ca_id: Option<String>,
    /// PEM.
    pub content: String,
    pub created_at: Timestamp,
    pub effective_at: Timestamp,
    pub expires_at: Timestamp,
}

/// One write that was asked for over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    pub at: Timestamp,
    /// With `at` its key.
    pub seq: u64,
    /// `None`: nobody had to say who he is.
    pub access_key: Option<String>,
    pub role: String,
    /// Address of the caller.
    pub from: String,
    pub request_id: String,
    pub method: String,
    pub path: String,
    pub operation: String,
    /// What it was about: `device_id` and its value, …
    pub targets: Vec<(String, String)>,
    /// HTTP status of the answer; `None` until there is one, and for good when the server died before.
    pub status: Option<u16>,
    pub error_code: Option<String>,
}
