//! What those who look over a campaign read of it.

use std::sync::Arc;

use super::create::{NewTask, rows_of};
use super::{BatchError, Batches, TaskDetail};
use crate::app::upgrade::Package;
use crate::base::ids::{AppId, TaskId};
use crate::store::catalog::SubtaskRecord;

impl Batches {
    /// A campaign as it is now, with all its subtasks. Errors: 404; no campaign.
    pub async fn campaign_rows(
        &self,
        id: &TaskId,
        space: Option<&AppId>,
    ) -> Result<(TaskDetail, Vec<(u32, SubtaskRecord)>), BatchError> {
        self.campaign(id, space)?;
        let task = self.show(id, space)?;
        let rows = self.rows_where(task.record.seq, |_| true).await?;
        Ok((task, rows))
    }

    /// What a campaign would begin with: its package, and its targets as they are judged. Nothing is made.
    /// Errors: those of creation.
    pub async fn draft(
        self: &Arc<Self>,
        new: &NewTask,
    ) -> Result<(Arc<Package>, Vec<SubtaskRecord>), BatchError> {
        self.space_of(new)?;
        let no_campaign = || {
            let got = new.task_type.word();
            let problem = format!("got {got}, a campaign takes firmwareUpgrade or softwareUpgrade");
            BatchError::invalid("task_type", problem)
        };
        let package_id = new.package_id.as_deref().ok_or_else(no_campaign)?;
        let package = self.package_for(new, package_id)?;
        let members = self.members_of(new).await?;
        let rows = rows_of(new, members)?;
        let rows = self.judge_targets(new, package_id, rows).await?;
        Ok((package, rows))
    }
}
