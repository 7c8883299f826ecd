//! Which groups devices are in, with the rules of dynamic groups looked up once for many devices.

use super::{Group, Groups};
use crate::app::device::DeviceDetail;
use crate::base::time::Timestamp;
use crate::store::find::Filter;

/// All groups, newest first, as they are at one moment.
pub struct Memberships {
    now: Timestamp,
    /// With the condition of a dynamic one.
    groups: Vec<(Group, Option<Filter>)>,
}

impl Groups {
    /// For [`Memberships::of`].
    pub fn memberships(&self) -> Memberships {
        let groups = self.list().into_iter().map(|group| {
            let condition = group.rule.is_some().then(|| self.filter(&group));
            (group, condition)
        });
        Memberships {
            now: self.parts.clock.now(),
            groups: groups.collect(),
        }
    }
}

impl Memberships {
    /// The groups that a device is in, newest first.
    pub fn of(&self, detail: &DeviceDetail) -> impl Iterator<Item = &Group> {
        let state = detail.state.as_ref();
        // No condition of a search looks at gateways of gateways.
        let fits = move |filter: &Filter| filter.fits(&detail.device, state, self.now, &|_| None);
        let own = self.groups.iter().filter(move |(group, condition)| {
            group.record.app_id == detail.device.app_id
                && condition
                    .as_ref()
                    .map_or_else(|| detail.is_in(&group.record), fits)
        });
        own.map(|(group, _)| group)
    }
}
