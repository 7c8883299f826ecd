//! Answers [`Find`]: a view of the index, a few rows from disk, sets, and then the devices of the page.
//!
//! The index holds what is durable. The few rows from disk may be newer by the batch in hand, so they count only for
//! devices that the index knows; and a device of the page that was deleted meanwhile is left out,
//! the next one takes its place.

use std::ops::Deref;
use std::sync::{Arc, PoisonError, RwLock};

use roaring::RoaringTreemap;

use super::Kv;
use super::reader::Reader;
use crate::base::ids::{DeviceId, NodeId};
use crate::base::peer::DeviceSeq;
use crate::store::StoreError;
use crate::store::find::{Find, FindOrder, Found};
use crate::store::index::{Column, Index, Span, Term, Test, View};
use crate::store::keys;
use crate::store::records::DeviceRecord;
use crate::store::rows::{self, DeviceHead};

/// One device in so many is few enough to be looked at one by one.
const FEW: u64 = 16;

/// Devices, as the index has them or made for this search.
enum Members {
    Shared(Arc<RoaringTreemap>),
    Own(RoaringTreemap),
}

impl Deref for Members {
    type Target = RoaringTreemap;

    fn deref(&self) -> &RoaringTreemap {
        match self {
            Self::Shared(shared) => shared,
            Self::Own(own) => own,
        }
    }
}

impl Members {
    fn into_own(self) -> RoaringTreemap {
        match self {
            Self::Shared(shared) => Arc::unwrap_or_clone(shared),
            Self::Own(own) => own,
        }
    }

    fn of(seq: Option<u64>) -> Self {
        Self::Own(seq.into_iter().collect())
    }
}

impl<E: Kv> Reader<'_, E> {
    pub(super) fn find(&self, find: &Find<'_>, index: &RwLock<Index>) -> Result<Found, StoreError> {
        let index = index.read().unwrap_or_else(PoisonError::into_inner);
        let view = index.view(find.filter, find.now);
        drop(index);
        let members = self.fitting(&view)?;
        Ok(Found {
            devices: self.page(find, &members)?,
            count: members.len(),
        })
    }

    /// Every device that fits.
    fn fitting(&self, view: &View) -> Result<Members, StoreError> {
        let found = self.members(view, &view.term)?;
        let is_known = matches!(view.term, Term::All | Term::Set(_));
        if is_known && view.hidden.is_empty() {
            return Ok(found);
        }
        let mut found = found.into_own();
        if !is_known {
            found &= &*view.all;
        }
        for set in &view.hidden {
            set.take_from(&mut found);
        }
        Ok(Members::Own(found))
    }

    fn members(&self, view: &View, term: &Term) -> Result<Members, StoreError> {
        Ok(match term {
            Term::All => Members::Shared(Arc::clone(&view.all)),
            Term::Set(None) => Members::of(None),
            Term::Set(Some(set)) => Members::Shared(set.bitmap()),
            Term::Tree(top) => Members::Own(view.below(*top)),
            Term::Column(test) => Members::Own(view.column.search(*test)),
            Term::Span(span) => Members::Own(self.span(span)?),
            Term::Tag { key, value } => Members::Own(view.tags.search(key, value)),
            Term::Device(id) => Members::of(self.seq_of(id)?),
            Term::Node(id) => Members::of(self.seq_of_node(id)?),
            Term::Below(seq) => {
                let mut all = (*view.all).clone();
                all.remove_range(*seq..);
                Members::Own(all)
            }
            Term::Above(seq) => {
                let mut all = (*view.all).clone();
                all.remove_range(..=*seq);
                Members::Own(all)
            }
            Term::Not(term) => Members::Own(&*view.all - &*self.members(view, term)?),
            Term::And(terms) => self.all_of(view, terms)?,
            Term::Or(terms) => {
                let mut any = RoaringTreemap::new();
                for term in terms {
                    any |= &*self.members(view, term)?;
                }
                Members::Own(any)
            }
        })
    }

    /// What costs little narrows first.
    fn all_of(&self, view: &View, terms: &[Term]) -> Result<Members, StoreError> {
        let mut rest = Members::Shared(Arc::clone(&view.all));
        let cheap = terms.iter().filter(|term| term.is_cheap());
        let dear = terms.iter().filter(|term| !term.is_cheap());
        for term in cheap.chain(dear) {
            if rest.is_empty() {
                break;
            }
            rest = Members::Own(match term {
                Term::Column(test) => narrow(&view.column, &rest, *test, view.all.len()),
                Term::Not(term) => &*rest - &*self.members(view, term)?,
                term => &*rest & &*self.members(view, term)?,
            });
        }
        Ok(rest)
    }

    fn span(&self, span: &Span) -> Result<RoaringTreemap, StoreError> {
        let inside = span.inside.iter().map(|segment| segment.len());
        let mut seqs = Vec::with_capacity(inside.sum());
        for segment in &span.inside {
            seqs.extend_from_slice(segment);
        }
        for (from, to) in &span.edges {
            self.each_indexed(from, to, &mut |_, seq| seqs.push(seq))?;
        }
        // In order, each number is put behind the others.
        seqs.sort_unstable();
        Ok(seqs.into_iter().collect())
    }

    fn seq_of(&self, id: &DeviceId) -> Result<Option<u64>, StoreError> {
        let key = keys::device(id);
        let Some(row) = self.engine().get(&key)? else {
            return Ok(None);
        };
        let head = self.decode_with(&key, row, &|row| rows::decode_beside::<DeviceHead>(row))?;
        Ok(head.map(|head| head.seq))
    }

    fn seq_of_node(&self, id: &NodeId) -> Result<Option<u64>, StoreError> {
        let key = keys::node(id);
        let Some(row) = self.engine().get(&key)? else {
            return Ok(None);
        };
        self.node_owner(&key, &row).map(|(seq, _)| Some(seq))
    }

    fn page(
        &self,
        find: &Find<'_>,
        members: &RoaringTreemap,
    ) -> Result<Vec<DeviceRecord>, StoreError> {
        let offset = u64::try_from(find.offset).unwrap_or(u64::MAX);
        let mut devices = Vec::new();
        // Places in the set, ascending from 0.
        let mut next = match (find.order, find.beyond) {
            (FindOrder::NewestFirst, None) => back(members.len(), offset),
            (FindOrder::NewestFirst, Some(edge)) => {
                let below = edge.checked_sub(1).map_or(0, |last| members.rank(last));
                back(below, offset)
            }
            (FindOrder::OldestFirst, edge) => {
                let first = edge.map_or(0, |edge| members.rank(edge));
                first.checked_add(offset)
            }
        };
        while let Some(at) = next.filter(|_| devices.len() < find.limit) {
            let Some(seq) = members.select(at) else {
                break;
            };
            devices.extend(self.device_with_seq(seq)?);
            next = match find.order {
                FindOrder::NewestFirst => at.checked_sub(1),
                FindOrder::OldestFirst => at.checked_add(1),
            };
        }
        Ok(devices)
    }

    /// `None`: it was deleted meanwhile.
    fn device_with_seq(&self, seq: u64) -> Result<Option<DeviceRecord>, StoreError> {
        let Some(id) = self.device_by_seq(DeviceSeq(seq))? else {
            return Ok(None);
        };
        let device = self.device(&id)?;
        Ok(device.filter(|device| device.seq == seq))
    }
}

/// The place `offset` before the last of so many.
const fn back(len: u64, offset: u64) -> Option<u64> {
    match len.checked_sub(1) {
        Some(last) => last.checked_sub(offset),
        None => None,
    }
}

fn narrow(column: &Column, rest: &RoaringTreemap, test: Test, all: u64) -> RoaringTreemap {
    if rest.len() < all / FEW {
        return column.narrow(rest, test);
    }
    rest & &column.search(test)
}
