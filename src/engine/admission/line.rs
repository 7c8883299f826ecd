//! The waiting lines of all pools in one ordered set: compact, and each step costs a logarithm.

use std::collections::BTreeSet;

use super::coverage::{CellId, Place, Pool};
use crate::base::time::Timestamp;

/// A waiter's turn: the order of the fields is the order in the line. Cell and pool stand here by themselves, as
/// a [`Place`] would cost eight bytes more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    cell: CellId,
    pool: Pool,
    /// First attempts go before retries.
    attempt: u8,
    measured_at: Timestamp,
    pub(super) device: u64,
}

impl Rank {
    pub(super) const fn new(
        place: Place,
        attempt: u8,
        measured_at: Timestamp,
        device: u64,
    ) -> Self {
        Self {
            cell: place.cell,
            pool: place.pool,
            attempt,
            measured_at,
            device,
        }
    }

    const fn place(self) -> Place {
        Place {
            cell: self.cell,
            pool: self.pool,
        }
    }

    const fn lowest(place: Place) -> Self {
        Self::new(place, 0, Timestamp::from_ms(0), 0)
    }

    const fn highest(place: Place) -> Self {
        Self::new(place, u8::MAX, Timestamp::from_ms(u64::MAX), u64::MAX)
    }
}

#[derive(Debug, Default)]
pub(super) struct Line(BTreeSet<Rank>);

impl Line {
    pub(super) fn insert(&mut self, rank: Rank) {
        self.0.insert(rank);
    }

    pub(super) fn remove(&mut self, rank: &Rank) {
        self.0.remove(rank);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Who waits at a place, in order.
    pub(super) fn at(&self, place: Place) -> impl Iterator<Item = &Rank> {
        self.0.range(Rank::lowest(place)..=Rank::highest(place))
    }

    /// How many stand before a waiter in its pool.
    pub(super) fn ahead(&self, rank: Rank) -> usize {
        self.0.range(Rank::lowest(rank.place())..rank).count()
    }
}
