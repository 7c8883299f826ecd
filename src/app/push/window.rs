//! The pushes of one action that are under way or come next, in lanes: a device's pushes go one
//! after the other, other devices go on. Of a push it knows position and length; a body only while
//! there is room for it.
//!
//! ```text
//! add -> lane: [head, next, …]      ready --take--> busy --done--> ready, when more is in the lane
//!                                     ^---wake--- waiting <--wait--'
//! ```
//!
//! Nothing here knows of sockets, the store or a clock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hashbrown::{HashMap, HashSet};

use crate::base::ids::DeviceId;
use crate::base::time::Timestamp;
use crate::bug;
use crate::store::forwarding::SetAsideKey;

/// Bytes of bodies that are kept in memory for their turn.
const BODIES_MAX: usize = 4 * 1024 * 1024;

/// Entries of `ready` that stand for nothing any more.
const STALE_MAX: usize = 1024;

/// Whose pushes are in order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    /// Pushed once more after it was set aside: beside what is new.
    pub is_again: bool,
    pub subject: Subject,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    Device(DeviceId),
    /// Events without a device: all of a resource.
    Resource(Arc<str>),
}

/// One push.
#[derive(Debug, Clone)]
pub struct Item {
    pub key: SetAsideKey,
    /// Of the event.
    pub at: Timestamp,
    /// Bytes of the body.
    pub len: u64,
    /// `None`: it is read again when its turn comes.
    pub body: Option<Bytes>,
    /// Tries that failed, in whatever way.
    pub failures: u32,
    /// Of these, those that the subscriber answered.
    pub refusals: u32,
}

#[derive(Debug, Default)]
pub struct Window {
    lanes: HashMap<Lane, Queue>,
    /// Lanes whose head may go; some may have changed since.
    ready: VecDeque<Lane>,
    /// Lanes whose head waits; some may have changed since.
    waiting: BinaryHeap<Reverse<(Instant, u64, Lane)>>,
    /// What is not dealt with, but for what goes again.
    open: BTreeMap<SetAsideKey, Lane>,
    waits: u64,
    /// Of bodies, by their length: of all that is open, and of what is under way.
    bytes: u64,
    busy_bytes: u64,
    bodies: usize,
    again: usize,
}

#[derive(Debug)]
struct Queue {
    items: VecDeque<Item>,
    state: Turn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Ready,
    /// Its head is under way.
    Busy,
    /// Until its entry in `waiting` of this number is due.
    Waiting(u64),
}

impl Window {
    /// Appends to its lane.
    pub fn add(&mut self, lane: Lane, mut item: Item) {
        let len = item.body.as_ref().map_or(0, Bytes::len);
        if self.bodies.saturating_add(len) > BODIES_MAX {
            item.body = None;
        } else {
            self.bodies = self.bodies.saturating_add(len);
        }
        if lane.is_again {
            self.again = self.again.saturating_add(1);
        } else {
            self.bytes = self.bytes.saturating_add(item.len);
            self.open.insert(item.key, lane.clone());
        }
        let ready = &mut self.ready;
        let queue = self.lanes.entry(lane).or_insert_with_key(|lane| {
            ready.push_back(lane.clone());
            Queue {
                items: VecDeque::with_capacity(1),
                state: Turn::Ready,
            }
        });
        queue.items.push_back(item);
        if self.ready.len() > self.lanes.len().saturating_mul(2).saturating_add(STALE_MAX) {
            self.clear_stale();
        }
    }

    /// Lanes that were dropped and came again stand in `ready` more than once.
    fn clear_stale(&mut self) {
        let mut seen = HashSet::with_capacity(self.lanes.len());
        let lanes = &self.lanes;
        self.ready.retain(|lane| {
            let queue = lanes.get(lane);
            queue.is_some_and(|queue| queue.state == Turn::Ready) && seen.insert(lane.clone())
        });
    }

    /// The push that comes next; its lane is busy until [`Window::done`], [`Window::wait`] or
    /// [`Window::put_back`].
    pub fn take(&mut self) -> Option<(Lane, Item)> {
        while let Some(lane) = self.ready.pop_front() {
            let Some(queue) = self.lanes.get_mut(&lane) else {
                continue;
            };
            if queue.state != Turn::Ready {
                continue;
            }
            if let Some(head) = queue.items.front() {
                queue.state = Turn::Busy;
                if !lane.is_again {
                    self.busy_bytes = self.busy_bytes.saturating_add(head.len);
                }
                return Some((lane, head.clone()));
            }
        }
        None
    }

    /// It could not go: it is the next again.
    pub fn put_back(&mut self, lane: Lane) {
        if self.leave_busy(&lane, Turn::Ready).is_some() {
            self.ready.push_front(lane);
        }
    }

    /// The head of a busy lane is dealt with.
    pub fn done(&mut self, lane: Lane) {
        if self.leave_busy(&lane, Turn::Ready).is_some() {
            self.remove(&lane, 0);
            if self.lanes.contains_key(&lane) {
                self.ready.push_back(lane);
            }
        }
    }

    /// The head of a busy lane failed: it goes again at `until`.
    pub fn wait(&mut self, lane: Lane, until: Instant, refused: bool) {
        self.waits = self.waits.wrapping_add(1);
        let number = self.waits;
        if let Some(head) = self.leave_busy(&lane, Turn::Waiting(number)) {
            head.failures = head.failures.saturating_add(1);
            head.refusals = head.refusals.saturating_add(u32::from(refused));
            self.waiting.push(Reverse((until, number, lane)));
        }
    }

    fn leave_busy(&mut self, lane: &Lane, next: Turn) -> Option<&mut Item> {
        let queue = self.lanes.get_mut(lane);
        let Some(queue) = queue.filter(|queue| queue.state == Turn::Busy) else {
            bug!("a push ended in a lane that has none under way");
            return None;
        };
        queue.state = next;
        let head = queue.items.front_mut()?;
        if !lane.is_again {
            self.busy_bytes = self.busy_bytes.saturating_sub(head.len);
        }
        Some(head)
    }

    /// Takes an item out of its lane, wherever it is.
    fn remove(&mut self, lane: &Lane, at: usize) -> Option<Item> {
        let queue = self.lanes.get_mut(lane)?;
        let item = queue.items.remove(at)?;
        if queue.items.is_empty() {
            self.lanes.remove(lane);
        }
        let len = item.body.as_ref().map_or(0, Bytes::len);
        self.bodies = self.bodies.saturating_sub(len);
        if lane.is_again {
            self.again = self.again.saturating_sub(1);
        } else {
            self.bytes = self.bytes.saturating_sub(item.len);
            self.open.remove(&item.key);
        }
        Some(item)
    }

    /// Lanes whose wait is over may go.
    pub fn wake(&mut self, now: Instant) {
        while self.next_wake().is_some_and(|at| at <= now) {
            if let Some(Reverse((_, number, lane))) = self.waiting.pop() {
                self.ready_again(lane, number);
            }
        }
    }

    /// All that wait may go: where they go to has changed.
    pub fn wake_all(&mut self) {
        for Reverse((_, number, lane)) in std::mem::take(&mut self.waiting) {
            self.ready_again(lane, number);
        }
    }

    fn ready_again(&mut self, lane: Lane, number: u64) {
        if let Some(queue) = self.lanes.get_mut(&lane)
            && queue.state == Turn::Waiting(number)
        {
            queue.state = Turn::Ready;
            self.ready.push_back(lane);
        }
    }

    /// When the first wait is over.
    pub fn next_wake(&self) -> Option<Instant> {
        self.waiting.peek().map(|Reverse((at, ..))| *at)
    }

    /// Takes out the oldest push that is not under way, if it is one of these.
    pub fn drop_oldest(&mut self, is_one: impl Fn(&Item) -> bool) -> Option<Item> {
        let (lane, at) = self.open.iter().find_map(|(key, lane)| {
            let queue = self.lanes.get(lane)?;
            let at = queue.items.iter().position(|item| item.key == *key)?;
            let is_busy = at == 0 && queue.state == Turn::Busy;
            (!is_busy).then(|| (lane.clone(), at))
        })?;
        let item = self.lanes.get(&lane)?.items.get(at)?;
        if !is_one(item) {
            return None;
        }
        self.remove(&lane, at)
    }

    /// What goes out is made anew: of another rule.
    pub fn forget_bodies(&mut self) {
        for queue in self.lanes.values_mut() {
            for item in &mut queue.items {
                item.body = None;
            }
        }
        self.bodies = 0;
    }

    /// Pushes that are known, those that go again too.
    pub fn len(&self) -> usize {
        self.open.len().saturating_add(self.again)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Pushes that are open, but for those that go again.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Those that go again after they were set aside.
    pub const fn again(&self) -> usize {
        self.again
    }

    /// Bytes of what is open.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of what is open and not under way.
    pub const fn waiting_bytes(&self) -> u64 {
        self.bytes.saturating_sub(self.busy_bytes)
    }

    /// Time of the oldest that is open.
    pub fn oldest_at(&self) -> Option<Timestamp> {
        let (key, lane) = self.open.first_key_value()?;
        let items = &self.lanes.get(lane)?.items;
        items.iter().find(|item| item.key == *key).map(|i| i.at)
    }

    /// Everything up to the first number is dealt with, but for the events at the positions of the
    /// second: at most `max`, ascending. `read_to`: where the reading of events has come to;
    /// `but`: these are being dealt with.
    pub fn progress(
        &self,
        read_to: u64,
        max: usize,
        but: &HashSet<SetAsideKey>,
    ) -> (u64, Vec<u64>) {
        let mut outstanding: Vec<u64> = Vec::with_capacity(self.open.len().min(max));
        for key in self.open.keys() {
            if outstanding.last() == Some(&key.position) || but.contains(key) {
                continue;
            }
            if outstanding.len() == max {
                return (key.position.saturating_sub(1), outstanding);
            }
            outstanding.push(key.position);
        }
        (read_to, outstanding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::base::time::Clock;

    fn lane(name: &str) -> Lane {
        Lane {
            is_again: false,
            subject: Subject::Device(DeviceId::parse(name).unwrap()),
        }
    }

    fn item(position: u64) -> Item {
        Item {
            key: SetAsideKey { position, index: 0 },
            at: Timestamp::from_ms(position),
            len: 100,
            body: Some(Bytes::from_static(b"{}")),
            failures: 0,
            refusals: 0,
        }
    }

    fn taken(window: &mut Window) -> Option<u64> {
        window.take().map(|(_, item)| item.key.position)
    }

    #[test]
    fn a_lane_is_in_order_and_others_go_on() {
        let none = HashSet::new();
        let now = Clock::manual(Timestamp::from_ms(0)).instant();
        let mut window = Window::default();
        for (name, position) in [("a", 1), ("a", 2), ("b", 3), ("a", 4), ("b", 5)] {
            window.add(lane(name), item(position));
        }
        assert_eq!((taken(&mut window), taken(&mut window)), (Some(1), Some(3)));
        assert_eq!(taken(&mut window), None);
        assert_eq!(window.progress(9, 10, &none), (9, vec![1, 2, 3, 4, 5]));
        assert_eq!(window.waiting_bytes(), 300);
        window.done(lane("b"));
        window.wait(lane("a"), now + Duration::from_secs(1), true);
        assert_eq!((taken(&mut window), taken(&mut window)), (Some(5), None));
        window.done(lane("b"));
        assert_eq!(window.progress(9, 2, &none), (3, vec![1, 2]));
        let position = 2;
        let second = HashSet::from_iter([SetAsideKey { position, index: 0 }]);
        assert_eq!(window.progress(9, 2, &second), (9, vec![1, 4]));
        window.wake(now);
        assert_eq!(taken(&mut window), None);
        assert_eq!(window.next_wake(), Some(now + Duration::from_secs(1)));
        window.wake(now + Duration::from_secs(1));
        let (lane_a, head) = window.take().unwrap();
        assert_eq!((head.key.position, head.failures, head.refusals), (1, 1, 1));
        window.put_back(lane_a);
        for position in [1, 2, 4] {
            assert_eq!(taken(&mut window), Some(position));
            window.done(lane("a"));
        }
        assert!(window.is_empty());
        assert_eq!((window.bytes(), window.bodies), (0, 0));
        assert_eq!(window.progress(9, 2, &none), (9, vec![]));
    }

    #[test]
    fn the_oldest_that_waits_is_dropped_first() {
        let mut window = Window::default();
        for (name, position) in [("a", 1), ("b", 2), ("a", 3), ("c", 4)] {
            window.add(lane(name), item(position));
        }
        assert_eq!(taken(&mut window), Some(1));
        let dropped = |window: &mut Window| {
            let dropped = window.drop_oldest(|item| item.key.position < 4);
            dropped.map(|item| item.key.position)
        };
        assert_eq!(dropped(&mut window), Some(2));
        assert_eq!(dropped(&mut window), Some(3));
        assert_eq!(dropped(&mut window), None);
        window.done(lane("a"));
        // The lane of what was dropped may come again.
        window.add(lane("b"), item(5));
        assert_eq!((taken(&mut window), taken(&mut window)), (Some(5), Some(4)));
        assert_eq!(taken(&mut window), None);
    }

    #[test]
    fn what_comes_and_is_dropped_leaves_nothing() {
        let mut window = Window::default();
        for position in 0..100_000 {
            window.add(lane("a"), item(position));
            window.drop_oldest(|_| true).unwrap();
        }
        assert!(
            window.ready.len() <= STALE_MAX + 3,
            "{}",
            window.ready.len()
        );
        window.add(lane("a"), item(0));
        window.add(lane("b"), item(1));
        assert_eq!((taken(&mut window), taken(&mut window)), (Some(0), Some(1)));
    }

    #[test]
    fn bodies_are_bounded() {
        let mut window = Window::default();
        for position in 0..10 {
            let body = Bytes::from(vec![b' '; 1024 * 1024]);
            let item = Item {
                body: Some(body),
                ..item(position)
            };
            window.add(lane("a"), item);
        }
        assert_eq!(window.bodies, BODIES_MAX);
        window.forget_bodies();
        assert_eq!(window.bodies, 0);
        assert!(window.take().unwrap().1.body.is_none());
    }

    proptest::proptest! {
        /// Whatever happens, each push ends once, and each device's in order.
        #[test]
        fn every_push_ends_once_and_in_order(
            lanes in proptest::collection::vec(0..4_u8, 1..60),
            steps in proptest::collection::vec(0..5_u8, 0..400),
        ) {
            let now = Clock::manual(Timestamp::from_ms(0)).instant();
            let mut window = Window::default();
            let name = |n: u8| lane(&format!("d{n}"));
            let mut busy = Vec::new();
            let mut ended: HashMap<Lane, Vec<u64>> = HashMap::new();
            let mut next = 0;
            let mut steps = steps.into_iter().chain(std::iter::repeat(0).take(1000));
            let mut clock = 0;
            while let Some(step) = steps.next() {
                clock += 1;
                match step {
                    1 if next < lanes.len() => {
                        window.add(name(lanes[next]), item(next as u64));
                        next += 1;
                    }
                    2 if !busy.is_empty() => {
                        let (lane, _): (Lane, Item) = busy.swap_remove(0);
                        window.wait(lane, now + Duration::from_millis(clock + 3), false);
                    }
                    3 => {
                        if let Some(item) = window.drop_oldest(|_| true) {
                            let of = name(lanes[usize::try_from(item.key.position).unwrap()]);
                            ended.entry(of).or_default().push(item.key.position);
                        }
                    }
                    4 if !busy.is_empty() => window.put_back(busy.pop().unwrap().0),
                    _ => {
                        if let Some((lane, item)) = busy.pop() {
                            ended.entry(lane.clone()).or_default().push(item.key.position);
                            window.done(lane);
                        } else if next < lanes.len() {
                            window.add(name(lanes[next]), item(next as u64));
                            next += 1;
                        }
                    }
                }
                window.wake(now + Duration::from_millis(clock));
                busy.extend(window.take());
            }
            proptest::prop_assert!(window.is_empty(), "{window:?}");
            let mut all: Vec<u64> = ended.values().flatten().copied().collect();
            all.sort_unstable();
            proptest::prop_assert_eq!(all, (0..lanes.len() as u64).collect::<Vec<_>>());
        }
    }
}
