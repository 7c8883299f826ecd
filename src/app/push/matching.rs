//! Which events a rule takes, and what is pushed of them.

use std::borrow::Cow;

use serde_json::Value;

use crate::app::sql::{Filter, SqlError};
use crate::base::ids::AppId;
use crate::store::forwarding::RuleRecord;
use crate::store::records::EnvelopeRecord;

/// `device.command.status` as the older platform spelled it. A rule that names it so gets it so.
const OLD_SPELLING: &str = "device.commmad.status";
const SPELLING: &str = "device.command.status";

/// A rule, ready to look at events.
#[derive(Debug)]
pub struct Matcher {
    resource: String,
    /// `None`: all events of the resource.
    event: Option<String>,
    app_id: Option<AppId>,
    is_respelled: bool,
    filter: Filter,
}

impl Matcher {
    pub fn of(rule: &RuleRecord) -> Result<Self, SqlError> {
        let is_respelled = rule.resource == OLD_SPELLING;
        let resource = match is_respelled {
            true => SPELLING,
            false => rule.resource.as_str(),
        };
        let is_all = rule.event == rule.resource || rule.event == resource;
        Ok(Self {
            resource: resource.to_owned(),
            event: (!is_all).then(|| rule.event.clone()),
            app_id: rule.app_id.clone(),
            is_respelled,
            filter: Filter::parse(rule.select.as_deref(), rule.condition.as_deref())?,
        })
    }

    /// What the clauses make of an event, whatever else the rule says; `None`: nothing.
    pub fn choose(&self, event: &Value) -> Option<Value> {
        self.filter.apply(event)
    }

    /// What is pushed of an event; `None`: nothing.
    pub fn body<'a>(&self, envelope: &'a EnvelopeRecord) -> Option<Cow<'a, str>> {
        let is_mine = envelope.resource == self.resource
            && self
                .event
                .as_ref()
                .is_none_or(|event| *event == envelope.event)
            && (self.app_id.is_none() || envelope.app_id == self.app_id);
        if !is_mine {
            return None;
        }
        // An envelope that is no JSON is no event: what wrote it never leaves one.
        if self.is_respelled {
            let json = respelled(&envelope.json);
            let chosen = self.filter.apply_text(&json).ok()??;
            return Some(Cow::Owned(chosen.into_owned()));
        }
        self.filter.apply_text(&envelope.json).ok()?
    }
}

/// The resource is the first field of every envelope.
fn respelled(json: &str) -> String {
    let (right, old) = (format!("\"{SPELLING}\""), format!("\"{OLD_SPELLING}\""));
    json.replacen(&right, &old, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::RuleId;
    use crate::base::time::Timestamp;

    pub(crate) fn rule(resource: &str, event: &str, app: Option<&str>) -> RuleRecord {
        RuleRecord {
            version: 1,
            rule_id: RuleId::parse("r").unwrap(),
            seq: 1,
            rule_name: None,
            description: None,
            resource: resource.to_owned(),
            event: event.to_owned(),
            app_id: app.map(|app| AppId::parse(app).unwrap()),
            select: None,
            condition: None,
            active: true,
            created_at: Timestamp::from_ms(0),
            modified_at: Timestamp::from_ms(0),
        }
    }

    #[test]
    fn rules_take_events_by_resource_event_and_space() {
        let cases = [
            (
                ("device", "create", None),
                ("device", "create", Some("a")),
                true,
            ),
            (
                ("device", "create", None),
                ("device", "delete", Some("a")),
                false,
            ),
            (("device", "device", None), ("device", "delete", None), true),
            (
                ("device", "device", None),
                ("device.status", "update", None),
                false,
            ),
            (
                ("device", "device", Some("a")),
                ("device", "create", Some("a")),
                true,
            ),
            (
                ("device", "device", Some("a")),
                ("device", "create", Some("b")),
                false,
            ),
            (
                ("device", "device", Some("a")),
                ("device", "create", None),
                false,
            ),
            (
                (OLD_SPELLING, "update", None),
                (SPELLING, "update", None),
                true,
            ),
            (
                (OLD_SPELLING, SPELLING, None),
                (SPELLING, "update", None),
                true,
            ),
            (
                (OLD_SPELLING, OLD_SPELLING, None),
                (SPELLING, "update", None),
                true,
            ),
        ];
        for (of_rule, of_event, want) in cases {
            let matcher = Matcher::of(&rule(of_rule.0, of_rule.1, of_rule.2)).unwrap();
            let json = format!("{{\"resource\":\"{}\",\"x\":\"{SPELLING}\"}}", of_event.0);
            let envelope = EnvelopeRecord {
                resource: of_event.0.to_owned(),
                event: of_event.1.to_owned(),
                device_id: None,
                json: json.clone(),
                app_id: of_event.2.map(|app| AppId::parse(app).unwrap()),
            };
            let got = matcher.body(&envelope);
            assert_eq!(got.is_some(), want, "{of_rule:?} {of_event:?}");
            if let Some(got) = got.filter(|_| of_rule.0 == OLD_SPELLING) {
                let want = format!("{{\"resource\":\"{OLD_SPELLING}\",\"x\":\"{SPELLING}\"}}");
                assert_eq!(got, want);
            }
        }
    }
}
