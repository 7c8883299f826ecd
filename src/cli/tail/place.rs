//! How far a stream of events was heard, over all the connections that carried it.
//!
//! Events of one commit share a position, which only the last of them has as its id. When a
//! connection breaks within them, the next one brings all of them again, in the same order: what was
//! told already is recognised and left out.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::feed::ServerEvent;

/// Events without an id in a row that are remembered; of more, a repetition is told twice.
const TOLD_MAX: usize = 65_536;

#[derive(Debug, Default)]
pub(super) struct Place {
    /// The position to go on after; `None`: not known yet.
    after: Option<u64>,
    /// What was told since, by its hash.
    told: Vec<u64>,
    /// How many of those this connection has brought again.
    again: usize,
}

impl Place {
    pub(super) fn from(after: Option<u64>) -> Self {
        Self {
            after,
            ..Self::default()
        }
    }

    pub(super) const fn after(&self) -> Option<u64> {
        self.after
    }

    /// A new connection stands.
    pub(super) const fn reopen(&mut self) {
        self.again = 0;
    }

    /// The server says where the connection begins. Gives the position that was asked for when it
    /// is another one: the server does not have as many events.
    pub(super) fn begin(&mut self, position: u64) -> Option<u64> {
        let asked = self
            .after
            .replace(position)
            .filter(|asked| *asked != position);
        if asked.is_some() {
            self.told.clear();
            self.again = 0;
        }
        asked
    }

    /// Whether the event was not told before; from now on it was.
    pub(super) fn is_new(&mut self, event: &ServerEvent) -> bool {
        let mut hasher = DefaultHasher::new();
        (&event.name, &event.data).hash(&mut hasher);
        let hash = hasher.finish();
        let is_new = self.told.get(self.again) != Some(&hash);
        if is_new {
            self.told.truncate(self.again);
        }
        if is_new && self.told.len() < TOLD_MAX {
            self.told.push(hash);
        }
        self.again += 1;
        if let Some(position) = event.id.as_deref().and_then(|id| id.parse().ok()) {
            self.after = Some(position);
            self.told.clear();
            self.again = 0;
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `x` is an event, `x7` one with the id 7.
    fn event(text: &str) -> ServerEvent {
        let (data, id) = text.split_at(1);
        ServerEvent {
            name: "a.b".to_owned(),
            data: data.to_owned(),
            id: (!id.is_empty()).then(|| id.to_owned()),
        }
    }

    #[test]
    fn repetitions_are_told_once() {
        // Connections, with what is told of each.
        type Case = (&'static [(&'static str, &'static str)], Option<u64>);
        let cases: [Case; 8] = [
            (&[("a1 b2", "a b")], Some(2)),
            (&[("a1 b", "a b"), ("b c2 d3", "c d")], Some(3)),
            (&[("a b", "a b"), ("a", ""), ("a b c1", "c")], Some(1)),
            // Alike, and not the same.
            (&[("a a", "a a"), ("a a a1", "a")], Some(1)),
            (&[("a1 a2", "a a"), ("a3", "a")], Some(3)),
            // Something else than before: all of it is news.
            (&[("a b", "a b"), ("a c d1", "c d")], Some(1)),
            (&[("a b", "a b"), ("b c1 a2", "b c a")], Some(2)),
            (&[("a b", "a b"), ("a c", "c"), ("a c d1", "d")], Some(1)),
        ];
        for (connections, after) in cases {
            let mut place = Place::default();
            for (sent, want) in connections {
                place.reopen();
                let events = sent.split(' ').map(event);
                let told: Vec<String> = events
                    .filter(|event| place.is_new(event))
                    .map(|event| event.data)
                    .collect();
                assert_eq!(told.join(" "), *want, "{connections:?}");
            }
            assert_eq!(place.after(), after);
        }
    }

    #[test]
    fn the_server_says_where_it_begins() {
        let mut place = Place::from(None);
        assert_eq!(place.begin(5), None);
        assert_eq!(place.after(), Some(5));
        assert!(place.is_new(&event("a")));
        place.reopen();
        assert_eq!(place.begin(5), None);
        assert!(!place.is_new(&event("a")));
        place.reopen();
        assert_eq!(place.begin(3), Some(5), "an older backup was restored");
        assert!(place.is_new(&event("a")));
        assert_eq!(place.after(), Some(3));
    }

    #[test]
    fn memory_is_bounded() {
        let mut place = Place::default();
        for _ in 0..TOLD_MAX + 10 {
            assert!(place.is_new(&event("a")));
        }
        assert_eq!(place.told.len(), TOLD_MAX);
    }
}
