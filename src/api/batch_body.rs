//! Bodies of `…/batchtasks`: `CreateBatchTask` and `BatchTargets` of the v5 API.

use serde_json::{Value, json};

use super::error::ApiError;
use super::input::{Alphabet, Fields, Problems, TextRule};
use super::{command_body, device_body, shadow};
use crate::app::batch::{Input, NewSubtask, Refused, SUBTASKS_MAX, Work};
use crate::app::command::NewCommand;
use crate::app::device::{DevicePatch, NewDevice};
use crate::app::order::DesiredService;
use crate::base::ids::{AppId, DeviceId, FileId, GroupId};
use crate::base::time::Timestamp;
use crate::engine::batch::{RETRY_COUNT_MAX, RETRY_INTERVAL_MAX_MIN};
use crate::store::catalog::{PolicyRecord, TaskType};

/// Every type of the API, and what is served of them.
pub const TASK_TYPES: [(&str, Option<TaskType>); 12] = {
    const fn served(task_type: TaskType) -> (&'static str, Option<TaskType>) {
        (task_type.word(), Some(task_type))
    }
    [
        served(TaskType::CreateDevices),
        served(TaskType::DeleteDevices),
        served(TaskType::FreezeDevices),
        served(TaskType::UnfreezeDevices),
        served(TaskType::UpdateDevices),
        served(TaskType::CreateAsyncCommands),
        served(TaskType::SoftwareUpgrade),
        served(TaskType::FirmwareUpgrade),
        ("moduleUpgrade", None),
        ("createCommands", None),
        ("createMessages", None),
        served(TaskType::UpdateDeviceShadows),
    ]
};

const PACKAGE_ID: TextRule = TextRule::name(36);
/// Groups of one task.
const GROUPS_MAX: usize = 100;
/// Targets of one order.
const ORDER_TARGETS_MAX: usize = 100;
/// Bytes of `task_ext_info`.
const EXTENSION_MAX: usize = 16 * 1024;
const TASK_NAME: TextRule = TextRule::new(Alphabet::Word, 1, 128);

/// `CreateBatchTask`.
pub struct TaskBody {
    pub app_id: Option<AppId>,
    pub task_name: String,
    pub task_type: TaskType,
    pub task_mode: Option<String>,
    pub need_confirm: Option<bool>,
    pub task_ext_info: Option<Value>,
    pub targets: Targets,
    pub work: Option<Work>,
    pub policy: Option<PolicyRecord>,
    /// What devices are upgraded with.
    pub package_id: Option<String>,
}

/// What a task is about. Targets by name go before groups, these before what else there is.
pub enum Targets {
    Named(Vec<String>),
    Groups(Vec<GroupId>),
    /// Devices to create.
    New(Vec<NewSubtask>),
    File(FileId),
}

impl TaskBody {
    /// Of `updateDevices`.
    pub const fn patch(&self) -> Option<&DevicePatch> {
        match &self.work {
            Some(Work::Update(patch)) => Some(patch),
            Some(Work::Send(_) | Work::Desire(_)) | None => None,
        }
    }
}

/// `document`: each type of task has its own.
#[derive(Default)]
struct Document {
    devices: Option<Vec<NewSubtask>>,
    patch: Option<DevicePatch>,
    command: Option<NewCommand>,
    desired: Option<Vec<DesiredService>>,
    package_id: Option<String>,
}

/// Reads a `CreateBatchTask`.
pub fn new_task(fields: &Fields<'_>) -> Option<TaskBody> {
    let app_id = fields.id("app_id", AppId::parse);
    let task_name = fields.needed_text("task_name", TASK_NAME);
    let task_type = task_type(fields);
    let task_mode = fields.text("task_mode", TextRule::any(64));
    let need_confirm = fields.boolean("need_confirm");
    let task_ext_info = fields.map("task_ext_info", EXTENSION_MAX);
    let named = targets(fields, SUBTASKS_MAX);
    let groups = fields.object("targets_filter").map(|f| groups(&f));
    let document = fields.object("document").map(|f| document(&f, task_type));
    let document = document.unwrap_or_default();
    let file = fields.id("document_source", FileId::parse);
    let policy = fields.object("task_policy").map(|f| policy(&f));
    let task_type = task_type?;
    let targets = match (task_type, named, groups, document.devices, file) {
        (TaskType::CreateDevices, Some(_), ..) => {
            fields.problem(
                "targets",
                "createDevices takes document.devices or document_source",
            );
            None
        }
        (TaskType::CreateDevices, None, Some(_), ..) => {
            let problem = "createDevices takes document.devices or document_source";
            fields.problem("targets_filter", problem);
            None
        }
        (TaskType::CreateDevices, None, None, Some(devices), _) => Some(Targets::New(devices)),
        (TaskType::CreateDevices, None, None, None, Some(file)) => Some(Targets::File(file)),
        (TaskType::CreateDevices, ..) => {
            fields.missing(
                "document_source",
                "a file of …/batchtask-files, or document.devices",
            );
            None
        }
        (_, Some(named), ..) => Some(Targets::Named(named)),
        (_, None, Some(groups), ..) => Some(Targets::Groups(groups)),
        (_, None, None, _, Some(file)) => Some(Targets::File(file)),
        (_, None, None, _, None) => {
            // One that is there and wrong has its own problem.
            let ways = ["targets", "targets_filter", "document_source"];
            if !ways.iter().any(|way| fields.has(way)) {
                fields.missing(
                    "targets",
                    "device ids, or targets_filter, or document_source",
                );
            }
            None
        }
    };
    let has_file = matches!(targets, Some(Targets::File(_)));
    let work = match task_type {
        TaskType::UpdateDevices => {
            let changes = document.patch.clone().unwrap_or_default();
            if changes == DevicePatch::default() && !has_file {
                fields.missing(
                    "document",
                    "one or more of device_name, description, extension_info, auth_info",
                );
            }
            document.patch.map(Work::Update)
        }
        TaskType::CreateAsyncCommands => {
            if !fields.has("document") {
                fields.missing(
                    "document",
                    "service_id, command_name, paras, send_strategy, expire_time",
                );
            }
            document.command.map(Work::Send)
        }
        TaskType::UpdateDeviceShadows => {
            if document.desired.as_ref().is_none_or(Vec::is_empty) {
                fields.missing("document.shadow", "services with what is desired of them");
            }
            document.desired.map(Work::Desire)
        }
        TaskType::CreateDevices
        | TaskType::DeleteDevices
        | TaskType::FreezeDevices
        | TaskType::UnfreezeDevices
        | TaskType::FirmwareUpgrade
        | TaskType::SoftwareUpgrade => None,
    };
    let package_id = document.package_id;
    let is_upgrade = task_type.upgrades().is_some();
    if is_upgrade && package_id.is_none() && !fields.has("document") {
        fields.missing("document", "package_ids: the id of one package");
    }
    Some(TaskBody {
        app_id,
        task_name,
        task_type,
        task_mode,
        need_confirm,
        task_ext_info: task_ext_info.map(Value::Object),
        targets: targets?,
        work,
        policy,
        package_id: package_id.filter(|_| is_upgrade),
    })
}

fn task_type(fields: &Fields<'_>) -> Option<TaskType> {
    let words: Vec<&'static str> = TASK_TYPES.iter().map(|(word, _)| *word).collect();
    if !fields.has("task_type") {
        fields.needed_choice("task_type", &words);
        return None;
    }
    let word = fields.needed_choice("task_type", &words);
    let found = TASK_TYPES.iter().find(|(known, _)| *known == word);
    let found = found.and_then(|(_, task_type)| *task_type);
    if found.is_none() {
        let served = TASK_TYPES.iter().filter(|(_, served)| served.is_some());
        let served: Vec<&str> = served.map(|(word, _)| *word).collect();
        let served = served.join(", ");
        fields.problem(
            "task_type",
            format!("got {word:?}, this server takes {served}"),
        );
    }
    found
}

/// Device ids.
fn targets(fields: &Fields<'_>, max: usize) -> Option<Vec<String>> {
    let ids = fields.ids("targets", 1..=max, DeviceId::parse)?;
    Some(ids.iter().map(ToString::to_string).collect())
}

fn groups(fields: &Fields<'_>) -> Vec<GroupId> {
    fields.need_list("group_ids", &(1..=GROUPS_MAX));
    let ids = fields.ids("group_ids", 1..=GROUPS_MAX, GroupId::parse);
    ids.unwrap_or_default()
}

/// Devices to create, each judged by itself; what to change of devices; a command for each.
fn document(fields: &Fields<'_>, task_type: Option<TaskType>) -> Document {
    let each = "As `add_device` takes it; a wrong one is a failed subtask.";
    let devices = fields.objects_alone("devices", 1..=SUBTASKS_MAX, each);
    let patch = device_body::device_patch(fields);
    let command = match task_type {
        Some(TaskType::CreateAsyncCommands) => command_body::new_command(fields),
        // Of another type, or nobody knows of which: nothing is missing, and what is there is judged.
        Some(_) | None => {
            command_body::described(fields);
            None
        }
    };
    Document {
        devices: devices.map(|devices| devices.iter().map(new_subtask).collect()),
        patch,
        command,
        desired: shadow::desired_services(fields),
        package_id: package(fields, task_type.is_some_and(|t| t.upgrades().is_some())),
    }
}

/// One package, as `package_ids` or, as answers have it, as `package_id`.
fn package(fields: &Fields<'_>, is_needed: bool) -> Option<String> {
    let listed = fields.texts("package_ids", 1..=1, PACKAGE_ID);
    let single = fields.text("package_id", PACKAGE_ID);
    if is_needed && !fields.has("package_ids") && !fields.has("package_id") {
        fields.missing("package_ids", "a list with the id of one package");
    }
    listed.and_then(|ids| ids.into_iter().next()).or(single)
}

fn new_subtask(fields: &Fields<'_>) -> NewSubtask {
    let problems = Problems::default();
    let read = device_body::new_device(&fields.within(&problems));
    match (problems.check(), read) {
        (Ok(()), Some(new)) => creation(new),
        (Ok(()), None) => refused(fields.path(""), &ApiError::invalid("takes a device")),
        (Err(error), _) => refused(fields.path(""), &error),
    }
}

/// The subtask that creates this device. Its target is the id that the device will have.
pub fn creation(new: NewDevice) -> NewSubtask {
    let id = new.device_id.as_ref().map(ToString::to_string);
    NewSubtask {
        target: id.unwrap_or_else(|| format!("{}_{}", new.product_id, new.node_id)),
        input: Input::Create(Box::new(new)),
    }
}

/// A subtask that has failed from the start.
pub fn refused(target: impl Into<String>, error: &ApiError) -> NewSubtask {
    let target: String = target.into();
    NewSubtask {
        target: target
            .trim_end_matches('.')
            .chars()
            .take(DeviceId::MAX_LEN)
            .collect(),
        input: Input::Refused(Refused {
            error_code: error.code.to_owned(),
            error_msg: error.message.clone(),
        }),
    }
}

fn policy(fields: &Fields<'_>) -> PolicyRecord {
    let schedule = fields.text("schedule_time", TextRule::any(32));
    let schedule_at = schedule.and_then(|text| {
        let at = Timestamp::parse(&text);
        if at.is_none() && !text.is_empty() {
            let problem = "takes a time like 20260131T235959Z";
            fields.problem("schedule_time", problem);
        }
        at
    });
    let count = fields.integer("retry_count", 0..=RETRY_COUNT_MAX);
    let interval = fields.integer("retry_interval", 0..=RETRY_INTERVAL_MAX_MIN);
    match (fields.has("retry_count"), fields.has("retry_interval")) {
        (true, false) => fields.missing("retry_interval", "minutes, with retry_count"),
        (false, true) => fields.missing("retry_count", "a number, with retry_interval"),
        _ => {}
    }
    PolicyRecord {
        schedule_at,
        retry_count: count.unwrap_or(0),
        retry_interval_min: interval.unwrap_or(0),
    }
}

/// Reads a `BatchTargets`: none means all.
pub fn order_targets(fields: &Fields<'_>) -> Option<Vec<String>> {
    Some(targets(fields, ORDER_TARGETS_MAX).unwrap_or_default())
}

/// What a task shows as its document.
pub fn document_of(work: &Work) -> Value {
    match work {
        Work::Update(patch) => patch_document(patch),
        Work::Send(command) => json!({
            "service_id": command.service_id,
            "command_name": command.command_name,
            "paras": command.paras,
            "expire_time": command_body::expire_time(command.strategy, command.expire_time_s),
            "send_strategy": command_body::strategy_word(command.strategy),
        }),
        Work::Desire(desired) => shadow_document(desired),
    }
}

fn patch_document(patch: &DevicePatch) -> Value {
    let mut document = serde_json::Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            document.insert(name.to_owned(), value);
        }
    };
    put("device_name", patch.device_name.clone().map(Value::from));
    put("description", patch.description.clone().map(Value::from));
    put("extension_info", patch.extension_info.clone());
    let mut auth = serde_json::Map::new();
    if let Some(secure) = patch.secure_access {
        auth.insert("secure_access".to_owned(), json!(secure));
    }
    if let Some(timeout) = patch.timeout_s {
        auth.insert("timeout".to_owned(), json!(timeout));
    }
    put(
        "auth_info",
        (!auth.is_empty()).then_some(Value::Object(auth)),
    );
    Value::Object(document)
}

/// The same of a change of shadows.
fn shadow_document(desired: &[DesiredService]) -> Value {
    let shown = desired.iter().map(|one| {
        let mut shown = json!({ "service_id": one.service_id, "desired": one.desired });
        if let (Some(version), Some(map)) = (one.version, shown.as_object_mut()) {
            map.insert("version".to_owned(), version.into());
        }
        shown
    });
    json!({ "shadow": shown.collect::<Vec<_>>() })
}
