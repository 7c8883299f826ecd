//! Batch tasks as the v5 API shows them.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::error::code_of_kind;
use super::page::PageInfo;
use crate::app::batch::{Detail, TaskDetail};
use crate::base::ids::TaskId;
use crate::base::time::Timestamp;

/// A task in an answer.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BatchTask")]
pub struct TaskView {
    pub task_id: TaskId,
    pub task_name: String,
    pub task_type: &'static str,
    pub task_mode: Option<String>,
    pub need_confirm: Option<bool>,
    pub task_ext_info: Option<Value>,
    pub targets: Option<Vec<String>>,
    pub targets_filter: Option<Value>,
    pub document: Option<Value>,
    pub task_policy: Option<PolicyView>,
    pub status: &'static str,
    pub status_desc: Option<String>,
    pub task_progress: Progress,
    pub create_time: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BatchTaskPolicy")]
pub struct PolicyView {
    pub schedule_time: Option<String>,
    pub retry_count: u32,
    pub retry_interval: u32,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BatchTaskProgress")]
pub struct Progress {
    pub total: u32,
    pub processing: u32,
    pub success: u32,
    pub fail: u32,
    pub waitting: u32,
    pub fail_wait_retry: u32,
    pub stopped: u32,
    pub removed: u32,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BatchTaskList")]
pub struct List {
    pub batchtasks: Vec<TaskView>,
    pub page: PageInfo,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BatchTaskAnswer")]
pub struct TaskAnswer {
    pub batchtask: TaskView,
    pub task_details: Vec<DetailView>,
    pub page: PageInfo,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BatchTaskDetail")]
pub struct DetailView {
    pub target: String,
    pub status: &'static str,
    pub output: Option<String>,
    pub error: Option<ErrorView>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BatchTaskError")]
pub struct ErrorView {
    pub error_code: String,
    pub error_msg: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BatchTaskOrder")]
pub struct OrderAnswer {
    pub targets: Vec<ResultView>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BatchTargetResult")]
pub struct ResultView {
    pub target: String,
    pub status: &'static str,
    pub error_code: Option<&'static str>,
    pub error_msg: Option<String>,
}

impl From<TaskDetail> for TaskView {
    fn from(task: TaskDetail) -> Self {
        let TaskDetail {
            record,
            status,
            counts,
            targets,
        } = task;
        Self {
            task_id: record.task_id,
            task_name: record.task_name,
            task_type: record.task_type.word(),
            task_mode: record.task_mode,
            need_confirm: record.need_confirm,
            task_ext_info: record.task_ext_info,
            targets: record.has_targets.then_some(targets),
            targets_filter: record.targets_filter,
            document: record.document,
            task_policy: record.policy.map(|policy| PolicyView {
                schedule_time: policy.schedule_at.map(Timestamp::compact),
                retry_count: policy.retry_count,
                retry_interval: policy.retry_interval_min,
            }),
            status: status.word(),
            status_desc: record.status_desc,
            task_progress: Progress {
                total: record.total,
                processing: counts.processing,
                success: counts.success,
                fail: counts.fail,
                waitting: counts.waiting,
                fail_wait_retry: counts.fail_wait_retry,
                stopped: counts.stopped,
                removed: counts.removed,
            },
            create_time: record.created_at.compact(),
        }
    }
}

impl From<Detail> for DetailView {
    fn from(detail: Detail) -> Self {
        Self {
            target: detail.target,
            status: detail.status,
            output: detail.output,
            error: detail.error.map(|error| ErrorView {
                error_code: code_of_kind(&error.error_code).to_owned(),
                error_msg: error.error_msg,
            }),
        }
    }
}
