//! Why a device waits, in words for operators: what is missing, where, and behind how many.

use super::coverage::Place;

/// Why a device waits, as operators read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Asleep {
        behind: usize,
    },
    Slot {
        place: Place,
        taken: u32,
        slots: u32,
        behind: usize,
    },
    Airtime {
        place: Place,
        downloads: u32,
        budget: u32,
        behind: usize,
    },
    /// Its turn is being written down.
    Reserved,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Asleep { behind } => write!(f, "asleep, behind {behind}"),
            Self::Slot {
                place: Place { cell, pool },
                taken,
                slots,
                behind,
            } => write!(
                f,
                "waits for a slot of cell {cell} {pool}: {taken} of {slots} taken, behind {behind}"
            ),
            Self::Airtime {
                place: Place { cell, pool },
                downloads,
                budget,
                behind,
            } => write!(
                f,
                "waits for airtime of cell {cell} {pool}: {downloads} downloads, \
                 the cell carries {budget}, behind {behind}"
            ),
            Self::Reserved => f.write_str("admitted"),
        }
    }
}
