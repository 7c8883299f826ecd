//! When a shard looks at devices by itself: at what was under way when it starts, and at timers that
//! fire.

use super::{BATCH, COMMITS_MAX, Shard};
use crate::app::step::Input;
use crate::base::ids::DeviceId;
use crate::base::time::Timestamp;
use crate::engine::presence::is_awake;
use crate::engine::shadow::difference;
use crate::store::records::{ShadowRecord, StateRecord};

/// A sleeping device that was heard so shortly before the start may still listen.
const FRESH_S: u32 = 120;

impl Shard {
    /// Takes up a device that the store knows, at start.
    pub fn adopt(
        &mut self,
        device_id: &DeviceId,
        deadline: Option<Timestamp>,
        state: &StateRecord,
    ) {
        let queue = &state.queue;
        let under_way = queue.open.iter().any(|o| o.delivered_at.is_none());
        // To one that listens, what waits may have been about to go.
        let registration = state.registration.as_ref();
        let is_fresh = is_awake(self.started_at, state.last_seen_at, FRESH_S);
        let listens = registration.is_some_and(|r| !r.queue_mode || is_fresh);
        let is_asked = state.upgrade.as_ref().is_some_and(|u| u.open.is_some());
        let waits = listens && (!queue.pending.is_empty() || is_wished(state) || is_asked);
        let deadline = match under_way || waits {
            true => Some(self.started_at),
            false => deadline,
        };
        self.deadlines.arm(device_id, deadline);
    }

    pub(super) fn next_timer(&self) -> impl Future<Output = ()> + use<> {
        let wait = self.deadlines.wait();
        async move {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Looks at devices whose timer fired: a batch, and as many as commits may be under way.
    pub(super) async fn tick(&mut self) {
        self.deadlines.turn();
        for _ in 0..BATCH {
            if self.commits.len() >= COMMITS_MAX {
                return;
            }
            let Some(device_id) = self.deadlines.pop() else {
                return;
            };
            let input = match self.doubtful.remove(&device_id) {
                Some(tokens) => Input::Resume { tokens },
                None => Input::Due,
            };
            self.take(device_id, input).await;
        }
    }
}

/// The device is not as it shall be.
fn is_wished(state: &StateRecord) -> bool {
    let lacks = |s: &ShadowRecord| !difference(&s.desired, &s.reported).is_empty();
    state.shadow.iter().any(lacks)
}
