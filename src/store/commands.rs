//! On-disk forms of what goes down to devices: commands, and with them property sets and answers to
//! reports. Rules of `records.rs`.
//!
//! An open one lies in the table `queue`, an ended one in `ended`; the device's state names the open
//! ones in order ([`QueueRecord`]), so that one row tells what is next and when.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::base::ids::CommandId;
use crate::base::time::Timestamp;

/// Something that goes down to a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandRecord {
    pub id: CommandId,
    pub kind: DownlinkKind,
    pub service_id: String,
    /// Empty but for a command.
    pub command_name: String,
    /// Of a command its parameters, of a property set the properties.
    pub paras: Map<String, Value>,
    pub strategy: Strategy,
    /// As the caller gave it, or the default.
    pub expire_time_s: u32,
    /// The model declares a response: what is delivered waits for it.
    pub expects_answer: bool,
    pub status: CommandStatus,
    pub sent_at: Option<Timestamp>,
    pub delivered_at: Option<Timestamp>,
    /// When the device's answer came.
    pub answered_at: Option<Timestamp>,
    /// What was sent; `None` before.
    pub message: Option<MessageRecord>,
    /// What the device answered, or why it failed.
    pub result: Option<ResultRecord>,
}

/// What goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DownlinkKind {
    /// Asked for by an application.
    Command,
    /// What an application wants of the device's properties.
    Properties,
    /// What the codec answers to a report.
    Answer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Strategy {
    Immediately,
    Delay,
}

/// The states of `engine::command`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandStatus {
    Pending,
    Expired,
    Sent,
    Timeout,
    Delivered,
    Successful,
    Failed,
}

/// The one message that a command ever becomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRecord {
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
    pub mid: u16,
    pub token: u64,
    /// First of the message ids, and their number.
    pub first_msg_id: u16,
    pub msg_ids: u16,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResultRecord {
    pub succeeded: bool,
    pub detail: Map<String, Value>,
}

/// What a device's state tells of its commands.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct QueueRecord {
    /// Those that wait, in order.
    pub pending: Vec<PendingRecord>,
    /// Those that were sent and have not ended, in order.
    pub open: Vec<OpenRecord>,
    /// Newest of those that are not open any more, so that what still comes for them is recognised.
    pub recent: Vec<RecentCommand>,
    /// The correlation id given last; 0: none yet.
    pub last_mid: u16,
    /// The device said that more uplink follows: queued commands wait.
    pub more_follows: bool,
    /// Commands that may still be answered, although nobody waits for that any more, and whose answer
    /// could be taken for another's.
    pub debts: u32,
    /// Property sets that did not bring the device where it shall be.
    pub attempts: Vec<AttemptRecord>,
    /// When the last of the debts came up.
    #[serde(default)]
    pub debts_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingRecord {
    pub id: CommandId,
    pub expires_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenRecord {
    pub id: CommandId,
    pub kind: DownlinkKind,
    pub token: u64,
    pub mid: u16,
    /// Its answer carries the mid.
    pub by_mid: bool,
    pub sent_at: Timestamp,
    /// When its message was last given to the network.
    pub carried_at: Timestamp,
    /// It waits for its turn, its datagram has not left.
    pub waits: bool,
    pub delivered_at: Option<Timestamp>,
    pub response_timeout_s: u32,
    /// It was given to the network more than once: the device may have it.
    #[serde(default)]
    pub again: bool,
    /// How often it went so that a device that has it can't tell: each may be answered.
    #[serde(default = "once")]
    pub transfers: u8,
}

const fn once() -> u8 {
    1
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentCommand {
    pub id: CommandId,
    pub token: u64,
    pub mid: u16,
    pub by_mid: bool,
    /// It rests as delivered, unanswered: an answer of its own still ends it.
    pub rests: bool,
}

/// Sets of one service's properties that were sent for the same wish, in rounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRecord {
    pub service_id: String,
    /// Rounds begun.
    pub tries: u32,
    /// When the last set of it was sent or, later, ended.
    pub last_at: Timestamp,
    /// Names of the properties that were tried in this round.
    #[serde(default)]
    pub sent: Vec<String>,
    /// Names of those that no report ever shows, and that the device acknowledged.
    #[serde(default)]
    pub taken: Vec<String>,
}

/// Which command a submission made: a repetition of the submission gets it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubmissionRecord {
    pub id: CommandId,
    /// Hash of what was asked for.
    pub digest: u64,
}
