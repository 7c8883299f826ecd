//! A [`Filter`] with everything put in that memory knows, at one moment. What is left to ask of the disk are few
//! rows: which device has an id or a node id, and the edges of spans.

use std::sync::Arc;

use roaring::RoaringTreemap;

use super::column::second;
use super::{Column, Index, Kind, Row, Set, SetKey, Sets, Span, Tags, Test};
use crate::base::ids::{DeviceId, NodeId};
use crate::base::time::Timestamp;
use crate::store::find::{CASCADE_DEPTH, Filter, TagText};
use crate::store::keys;

/// A condition as sets.
#[derive(Debug)]
pub enum Term {
    All,
    Set(Option<Set>),
    /// What is below the gateway of this key.
    Tree(SetKey),
    Column(Test),
    Span(Span),
    Tag {
        key: TagText,
        value: TagText,
    },
    Device(DeviceId),
    Node(NodeId),
    Below(u64),
    Above(u64),
    Not(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
}

/// What a search works on.
#[derive(Debug)]
pub struct View {
    pub all: Arc<RoaringTreemap>,
    /// Devices that fit nothing.
    pub hidden: Vec<Set>,
    pub term: Term,
    /// For [`Term::Column`] and [`Term::Tree`]; empty when no term is one.
    pub column: Column,
    /// For [`Term::Tag`]; empty when no term is one.
    pub tags: Tags,
    /// For [`Term::Tree`]; empty when no term is one.
    pub sets: Sets,
}

impl Index {
    pub fn view(&self, filter: &Filter, now: Timestamp) -> View {
        let term = self.term(filter, now);
        let column = match term.has(&|term| matches!(term, Term::Column(_) | Term::Tree(_))) {
            true => self.column.clone(),
            false => Column::default(),
        };
        let tags = match term.has(&|term| matches!(term, Term::Tag { .. })) {
            true => self.tags.clone(),
            false => Tags::default(),
        };
        let sets = match term.has(&|term| matches!(term, Term::Tree(_))) {
            true => self.sets.clone(),
            false => Sets::default(),
        };
        let hidden = self.hidden.iter().filter_map(|key| self.sets.get(*key));
        View {
            all: Arc::clone(&self.all),
            hidden: hidden.cloned().collect(),
            term,
            column,
            tags,
            sets,
        }
    }

    fn term(&self, filter: &Filter, now: Timestamp) -> Term {
        let text = |kind, text: &str| self.set(kind, &[text.as_bytes()]);
        let each = |filters: &[Filter]| filters.iter().map(|f| self.term(f, now)).collect();
        match filter {
            Filter::All => Term::All,
            Filter::App(id) => text(Kind::App, id.as_str()),
            Filter::Product(id) => text(Kind::Product, id.as_str()),
            Filter::Device(id) => Term::Device(id.clone()),
            Filter::Node(id) => Term::Node(id.clone()),
            Filter::NodePrefix(prefix) => {
                let (from, to) = keys::nodes_with(prefix);
                Term::Span(self.nodes.span(&from, &to))
            }
            Filter::Name(name) => {
                let (from, to) = keys::names_of(name);
                Term::Span(self.names.span(&from, &to))
            }
            Filter::NamePrefix(prefix) => {
                let (from, to) = keys::names_with(prefix);
                Term::Span(self.names.span(&from, &to))
            }
            Filter::Gateway(id) => self.with_itself(id, text(Kind::Behind, id.as_str())),
            Filter::Below(top) => self.with_itself(top, Term::Tree(self.keys.behind(top))),
            Filter::IsGateway => self.set(Kind::OwnGateway, &[]),
            Filter::Frozen => self.set(Kind::Frozen, &[]),
            Filter::Presence(presence) => Term::Column(Test::Presence { is: *presence, now }),
            Filter::FirmwareVersion(version) => text(Kind::Firmware, version),
            Filter::SoftwareVersion(version) => text(Kind::Software, version),
            Filter::Tag { key, value } => match self.tags.look_up(key, value) {
                Some(found) => Term::Set(found.cloned()),
                None => Term::Tag {
                    key: key.clone(),
                    value: value.clone(),
                },
            },
            Filter::Group(seq) => self.set(Kind::Group, &[&seq.to_be_bytes()]),
            Filter::Created { from, to } => Term::Column(Test::Created {
                from: from.map_or(0, second),
                to: to.map_or(u32::MAX, second),
            }),
            Filter::SeqBelow(seq) => Term::Below(*seq),
            Filter::SeqAbove(seq) => Term::Above(*seq),
            Filter::Not(filter) => Term::Not(Box::new(self.term(filter, now))),
            Filter::And(all) => Term::And(each(all)),
            Filter::Or(any) => Term::Or(each(any)),
        }
    }

    fn set(&self, kind: Kind, parts: &[&[u8]]) -> Term {
        Term::Set(self.sets.get(self.keys.key(kind, parts)).cloned())
    }

    /// What is behind a gateway, and the gateway if it is its own.
    fn with_itself(&self, gateway: &DeviceId, behind: Term) -> Term {
        let own = [
            Term::Device(gateway.clone()),
            self.set(Kind::OwnGateway, &[]),
        ];
        Term::Or(vec![behind, Term::And(own.into())])
    }
}

impl View {
    /// Devices behind the gateway, and behind those, but for itself. Takes a fraction of a microsecond for each.
    pub fn below(&self, top: SetKey) -> RoaringTreemap {
        let behind = self.sets.get(top);
        let mut level = behind.map(Set::bitmap).unwrap_or_default();
        let mut found = (*level).clone();
        for _ in 1..CASCADE_DEPTH {
            let mut next = RoaringTreemap::new();
            for key in level
                .iter()
                .filter_map(|seq| self.column.row(seq))
                .map(Row::behind)
            {
                if let Some(set) = self.sets.get(key) {
                    set.add_to(&mut next);
                }
            }
            // What was found before was also looked below before.
            next -= &found;
            if next.is_empty() {
                break;
            }
            found |= &next;
            level = Arc::new(next);
        }
        found
    }
}

impl Term {
    /// Whether it is such a term or has one in it.
    fn has(&self, such: &dyn Fn(&Self) -> bool) -> bool {
        match self {
            Self::Not(term) => term.has(such),
            Self::And(terms) | Self::Or(terms) => terms.iter().any(|term| term.has(such)),
            Self::All
            | Self::Set(_)
            | Self::Tree(_)
            | Self::Column(_)
            | Self::Span(_)
            | Self::Tag { .. }
            | Self::Device(_)
            | Self::Node(_)
            | Self::Below(_)
            | Self::Above(_) => such(self),
        }
    }

    /// Whether it costs next to nothing, so that it is asked first.
    pub const fn is_cheap(&self) -> bool {
        matches!(
            self,
            Self::All | Self::Set(_) | Self::Device(_) | Self::Node(_)
        )
    }
}
