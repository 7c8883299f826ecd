//! Which devices of a fleet have no registration at the moment, and why: for people who watch. The
//! first trouble of each kind is told at once, the others are counted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Update, What};
use crate::sim::device::{Event, Failure};
use crate::sim::message;

/// 4.03: what a server answers to a device that it does not know or that must come secured.
const FORBIDDEN: u8 = 0x83;

/// See the module.
#[derive(Debug, Default)]
pub struct Troubles {
    /// What keeps each device out.
    devices: BTreeMap<Arc<str>, String>,
    told: BTreeSet<String>,
}

impl Troubles {
    /// Takes one event; gives a line when it is the first trouble of its kind.
    pub fn take(&mut self, update: &Update) -> Option<String> {
        let (kind, text) = match &update.what {
            What::Device(Event::Registered { .. }) => {
                self.devices.remove(&update.node_id);
                return None;
            }
            What::Device(Event::RegisterFailed { failure }) => {
                let kind = format!("registration: {}", failure.reason());
                let text = format!("registration: {failure}{}", hint(*failure));
                (kind, text)
            }
            What::HandshakeFailed(failure) => {
                let kind = format!("handshake: {}", failure.kind());
                (kind, format!("handshake: {failure}"))
            }
            What::Broken { reason } => {
                // What kept it out before stays the reason; without one it is a socket.
                let known = self.devices.get(&update.node_id).cloned();
                let kind = known.unwrap_or_else(|| "socket".to_owned());
                let first = self.told.insert(format!("gave up: {kind}"));
                self.devices.insert(Arc::clone(&update.node_id), kind);
                return first.then(|| format!("{} gives up: {reason}", update.node_id));
            }
            _ => return None,
        };
        self.devices
            .insert(Arc::clone(&update.node_id), kind.clone());
        let first = self.told.insert(kind);
        first.then(|| format!("{}: {text}", update.node_id))
    }

    /// Devices that have no registration because something keeps them out.
    pub fn count(&self) -> usize {
        self.devices.len()
    }

    /// One line at the end; `None` when nothing keeps anybody out.
    pub fn line(&self) -> Option<String> {
        if self.devices.is_empty() {
            return None;
        }
        let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
        for kind in self.devices.values() {
            *kinds.entry(kind).or_default() += 1;
        }
        let kinds: Vec<_> = kinds.iter().map(|(k, n)| format!("{k} ({n})")).collect();
        let devices = self.devices.len();
        Some(format!(
            "{devices} devices have no registration: {}",
            kinds.join(", ")
        ))
    }
}

/// What a user can do about it.
const fn hint(failure: Failure) -> &'static str {
    match failure {
        Failure::Refused(FORBIDDEN) => {
            "; the server does not know the device (--provision creates it), or takes it only \
             secured (--psk)"
        }
        Failure::Refused(message::NOT_FOUND) => "; is this a LwM2M server? see --kind",
        Failure::Timeout => "; is the server's address right?",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::payload::Product;
    use crate::sim::session::HandshakeFailure;

    fn update(node: &str, what: What) -> Update {
        Update {
            node_id: node.into(),
            product: Product::WaterMeter,
            what,
        }
    }

    #[test]
    fn the_first_of_a_kind_is_told_and_all_are_counted() {
        let mut troubles = Troubles::default();
        assert_eq!(troubles.line(), None);
        let failure = Failure::Refused(FORBIDDEN);
        let refused = || What::Device(Event::RegisterFailed { failure });
        let told = troubles.take(&update("a", refused())).unwrap();
        assert!(told.starts_with("a: registration: answered 4.03"), "{told}");
        assert!(told.contains("--provision"), "{told}");
        assert_eq!(troubles.take(&update("b", refused())), None);
        let alert = What::HandshakeFailed(HandshakeFailure::Refused(115));
        let told = troubles.take(&update("c", alert)).unwrap();
        assert!(told.contains("unknown_psk_identity"), "{told}");
        let line = troubles.line().unwrap();
        assert_eq!(
            line,
            "3 devices have no registration: handshake: alert_115 (1), registration: 4.03 (2)"
        );
        let location = String::new();
        let registered = What::Device(Event::Registered { location });
        assert_eq!(troubles.take(&update("a", registered)), None);
        assert_eq!(troubles.count(), 2);
    }

    #[test]
    fn devices_that_give_up_keep_their_reason_and_the_first_is_named() {
        let mut troubles = Troubles::default();
        let mut give_up = |node| {
            let waited = std::time::Duration::from_secs(9);
            let failure = HandshakeFailure::Silent { waited };
            troubles.take(&update(node, What::HandshakeFailed(failure)));
            let reason = "no session".to_owned();
            troubles.take(&update(node, What::Broken { reason }))
        };
        assert_eq!(give_up("a").unwrap(), "a gives up: no session");
        assert_eq!(give_up("b"), None);
        let line = troubles.line().unwrap();
        assert!(line.ends_with("handshake: silent (2)"), "{line}");
    }
}
