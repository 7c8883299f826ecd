//! What an operator says of a campaign, a task that upgrades devices: pause, resume, a policy. The runner
//! writes it into the task's record before the caller is answered; also whether a device may get a
//! slot now, and which packages are in use.

use super::orders::What;
use super::rows::canary_of;
use super::{BatchError, Batches, Entry, TaskDetail, task_id};
use crate::base::ids::{AppId, TaskId};
use crate::base::time::Timestamp;
use crate::engine::batch::{Phase, Verdict};
use crate::store::catalog::{CampaignRecord, CanaryRecord, WindowRecord};

/// Why no device of a campaign gets a slot now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    #[error("the campaign is over, or is being stopped")]
    Over,
    #[error("the campaign is paused")]
    Paused,
    #[error("outside of the campaign's window, which opens at {}", .opens_at.compact())]
    Window { opens_at: Timestamp },
    #[error("too many devices of the campaign have failed")]
    Canary,
}

/// What holds a campaign back. Ranges were checked by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CampaignPolicy {
    pub canary: Option<CanaryRecord>,
    pub window: Option<WindowRecord>,
}

/// A change of a campaign.
#[derive(Debug, Clone, Copy)]
pub enum CampaignChange {
    /// No further device begins nor gets a slot; those under way go on.
    Pause,
    Resume,
    /// Takes the place of the one before.
    Policy(CampaignPolicy),
}

impl Batches {
    /// Changes a campaign that is not over; the task as it is then.
    pub async fn change_campaign(
        &self,
        id: &TaskId,
        space: Option<&AppId>,
        change: CampaignChange,
    ) -> Result<TaskDetail, BatchError> {
        let entry = self.campaign_entry(id, space)?;
        self.ask(entry.record.seq, What::Campaign(change)).await?;
        self.show(id, space)
    }

    /// A campaign as it is now. Errors: no such task, or one of another type.
    pub fn campaign(
        &self,
        id: &TaskId,
        space: Option<&AppId>,
    ) -> Result<(TaskDetail, CampaignRecord), BatchError> {
        let entry = self.campaign_entry(id, space)?;
        let detail = self.detail(&entry)?;
        let campaign = entry.record.campaign.ok_or_else(|| no_campaign(&detail))?;
        Ok((detail, campaign))
    }

    fn campaign_entry(&self, id: &TaskId, space: Option<&AppId>) -> Result<Entry, BatchError> {
        let entry = self.entry(id, space)?;
        match entry.record.campaign.is_some() {
            true => Ok(entry),
            false => Err(no_campaign(&self.detail(&entry)?)),
        }
    }

    /// Carries it out.
    pub(super) async fn change_now(
        &self,
        mut entry: Entry,
        change: CampaignChange,
    ) -> Result<(), BatchError> {
        let seq = entry.record.seq;
        if !matches!(entry.task.phase, Phase::Scheduled { .. } | Phase::Running) {
            return Err(BatchError::State {
                status: entry.status().word(),
                problem: "takes a campaign that waits or is processing",
            });
        }
        if let CampaignChange::Policy(policy) = change {
            self.check_policy(&entry, policy)?;
        }
        if let Some(campaign) = &mut entry.record.campaign {
            match change {
                CampaignChange::Pause => campaign.paused = true,
                CampaignChange::Resume => campaign.paused = false,
                CampaignChange::Policy(policy) => {
                    (campaign.canary, campaign.window) = (policy.canary, policy.window);
                }
            }
        }
        // Nothing of what subscribers are told changes.
        self.put_quietly(&mut entry).await?;
        let mut board = self.board();
        if let Some(there) = board.entries.get_mut(&seq) {
            there.record = entry.record;
        }
        drop(board);
        self.admission_changes();
        Ok(())
    }

    /// A canary can't hold back what has begun.
    fn check_policy(&self, entry: &Entry, policy: CampaignPolicy) -> Result<(), BatchError> {
        let Some(canary) = policy.canary.map(canary_of) else {
            return Ok(());
        };
        let board = self.board();
        let there = board.entries.get(&entry.record.seq).unwrap_or(entry);
        let tally = there.tally();
        let begun = tally.under_way + tally.success + tally.fail;
        let share = canary.share_of(tally.total);
        match canary.judge(&tally) {
            Verdict::Holds { .. } if begun > share => Err(BatchError::invalid(
                "canary.share_percent",
                format!(
                    "{begun} of {} devices have begun already, the share is {share}: takes a larger \
                     one, or none",
                    tally.total
                ),
            )),
            Verdict::Holds { .. } | Verdict::Passed | Verdict::Broken => Ok(()),
        }
    }

    /// A task that is not over and needs this package.
    pub fn uses_package(&self, package_id: &str) -> Option<TaskId> {
        let board = self.board();
        let uses = |entry: &&Entry| {
            let campaign = entry.record.campaign.as_ref();
            entry.live.is_some() && campaign.is_some_and(|c| c.package_id == package_id)
        };
        if let Some(entry) = board.entries.values().find(uses) {
            return Some(entry.record.task_id.clone());
        }
        let mut creating = board.creating.iter();
        let found = creating.find(|(_, package)| package.as_deref() == Some(package_id));
        found.and_then(|(seq, _)| task_id(*seq).ok())
    }

    /// Resolves when devices may get slots that could not before: a campaign was resumed, its policy
    /// changed, or its window opened. For one who waits.
    pub async fn admission_changed(&self) {
        self.admission.notified().await;
    }

    pub(super) fn admission_changes(&self) {
        self.admission.notify_one();
    }
}

fn no_campaign(task: &TaskDetail) -> BatchError {
    let word = task.record.task_type.word();
    BatchError::invalid(
        "task_id",
        format!("a task of type {word} is no campaign, takes firmwareUpgrade or softwareUpgrade"),
    )
}

/// Why a campaign stopped by itself.
pub(super) fn broken_text(entry: &Entry) -> Option<String> {
    let canary = entry.record.campaign.as_ref()?.canary?;
    let tally = entry.tally();
    Some(format!(
        "stopped by its canary: {} of {} devices failed, at most {} % may",
        tally.fail,
        tally.fail.saturating_add(tally.success),
        canary.max_failure_percent
    ))
}
