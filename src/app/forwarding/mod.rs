//! What applications subscribe to: routing rules with their actions, policies of backlog and flow,
//! and the certificates of subscribers. Few and small, so all of it is in memory.

use crate::store::forwarding::{
    ActionRecord, BacklogRecord, FlowRecord, PushCertificateRecord, RuleRecord,
};

/// Everything that pushes depend on, as it was after some commit.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub rules: Vec<RuleRecord>,
    pub actions: Vec<ActionRecord>,
    pub backlogs: Vec<BacklogRecord>,
    pub flows: Vec<FlowRecord>,
    pub certificates: Vec<PushCertificateRecord>,
}
