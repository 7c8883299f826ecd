//! Which devices a batch task is about, when it names groups.

use super::{BatchError, Batches};
use crate::base::ids::{AppId, GroupId};
use crate::store::find::{Filter, Find, FindOrder};

/// Subtasks of one task.
pub const SUBTASKS_MAX: usize = 30_000;

/// Devices found in one go.
const STEP: usize = 1000;

impl Batches {
    /// The devices in these groups as they are now, each once, the oldest first; of this space
    /// alone when there is one. A group of another space is not there.
    pub(super) fn members(
        &self,
        groups: &[GroupId],
        space: Option<&AppId>,
    ) -> Result<Vec<String>, BatchError> {
        let any = groups.iter().enumerate();
        let any = any.map(|(at, id)| self.filter_of(at, id, space));
        let any = Filter::Or(any.collect::<Result<_, _>>()?);
        let filter = match space {
            Some(space) => Filter::And(vec![Filter::App(space.clone()), any]),
            None => any,
        };
        let mut found: Vec<String> = Vec::new();
        let mut beyond = None;
        loop {
            let page = self.parts.store.find(&Find {
                filter: &filter,
                now: self.parts.clock.now(),
                order: FindOrder::OldestFirst,
                offset: 0,
                limit: STEP,
                beyond,
            })?;
            if page.count > SUBTASKS_MAX as u64 {
                let problem = format!(
                    "the groups have {} devices, takes up to {SUBTASKS_MAX}",
                    page.count
                );
                return Err(BatchError::invalid("targets_filter.group_ids", problem));
            }
            beyond = page.devices.last().map(|device| device.seq);
            let full = page.devices.len() == STEP;
            found.extend(page.devices.iter().map(|d| d.device_id.to_string()));
            if !full {
                return Ok(found);
            }
        }
    }

    /// What a member of the group is.
    fn filter_of(
        &self,
        at: usize,
        id: &GroupId,
        space: Option<&AppId>,
    ) -> Result<Filter, BatchError> {
        let field = format!("targets_filter.group_ids[{at}]");
        let missing = || BatchError::invalid(field.as_str(), format!("there is no group {id}"));
        let group = self.parts.groups.show(id).map_err(|_| missing());
        let seen = |own: &AppId| space.is_none_or(|space| space == own);
        if !group.is_ok_and(|group| seen(&group.record.app_id)) {
            return Err(missing());
        }
        self.parts.groups.filter_of(id).map_err(|_| missing())
    }
}
