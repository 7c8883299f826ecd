//! The radio of one NB-IoT carrier at the cell's edge: what a transport block costs at each coverage
//! level, and from that a fragment, a download, and what the carrier can carry.
//!
//! ```text
//! block     = PDCCH/0.75 + 4 + N_SF·R/0.75 + 12 + 2·R_ack + 3   ms, 680 bits
//! airtime   = PDCCH/0.75 + N_SF·R/0.75                          ms of the block on the carrier
//! fragment  = uplink request + 0.15 s + 8 blocks + uplink acknowledgement, 500 bytes
//! ```
//!
//! Three quarters of the subframes are free for devices. N_SF: subframes of a block; R: repetitions.
//! Times are microseconds.

/// Bits of a transport block.
const BLOCK_BITS: u64 = 680;
/// Transport blocks of a fragment of 500 bytes with its headers.
pub const BLOCKS: u32 = 8;
/// Bytes of a fragment.
pub const FRAGMENT: u32 = 500;
/// From a request's arrival at the base station to the answer's: core network and server.
const CORE_US: u64 = 150_000;

/// Coverage levels, best first.
pub const LEVELS: usize = 3;

/// One coverage level of a carrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Radio {
    /// A block on the carrier: nobody else gets anything meanwhile.
    pub airtime_us: u64,
    /// The rest of a block's time, in which the carrier serves others.
    pub pause_us: u64,
    /// From a fragment's last block to the acknowledgement at the server.
    pub ack_us: u64,
    /// From an acknowledgement to the next answer at the base station.
    pub request_us: u64,
}

impl Radio {
    /// The three levels; `speed` 0.5 makes a cell twice as slow as the model in all that it does.
    pub fn levels(speed: f64) -> [Self; LEVELS] {
        [
            Self::new(4, 1, 1, 1, 150_000, 100_000),
            Self::new(10, 4, 8, 4, 450_000, 300_000),
            Self::new(10, 32, 128, 32, 2_000_000, 1_500_000),
        ]
        .map(|radio| radio.at(speed))
    }

    const fn new(subframes: u64, r: u64, pdcch: u64, ack: u64, uplink: u64, receipt: u64) -> Self {
        Self {
            airtime_us: (pdcch + subframes * r) * 4000 / 3,
            pause_us: (4 + 12 + 2 * ack + 3) * 1000,
            ack_us: receipt,
            request_us: uplink + CORE_US,
        }
    }

    fn at(self, speed: f64) -> Self {
        Self {
            airtime_us: scaled(self.airtime_us, 1.0 / speed),
            pause_us: scaled(self.pause_us, 1.0 / speed),
            ack_us: scaled(self.ack_us, 1.0 / speed),
            request_us: scaled(self.request_us, 1.0 / speed),
        }
    }

    /// A fragment when nobody else is there.
    pub const fn fragment_us(self) -> u64 {
        self.request_us + BLOCKS as u64 * (self.airtime_us + self.pause_us) + self.ack_us
    }

    /// What a fragment takes of the carrier.
    pub const fn fragment_airtime_us(self) -> u64 {
        BLOCKS as u64 * self.airtime_us
    }

    /// Bits per second while a device alone gets block after block.
    pub const fn alone_bps(self) -> u64 {
        BLOCK_BITS * 1_000_000 / (self.airtime_us + self.pause_us)
    }

    /// Bits per second that the carrier can carry at this level.
    pub const fn capacity_bps(self) -> u64 {
        BLOCK_BITS * 1_000_000 / self.airtime_us
    }
}

/// Fragments of a package.
pub const fn fragments(bytes: u32) -> u32 {
    bytes.div_ceil(FRAGMENT)
}

/// A time, longer or shorter by a factor.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as casts saturate, and a time of more than 500,000 years is none"
)]
pub(super) fn scaled(us: u64, factor: f64) -> u64 {
    (us as f64 * factor).round() as u64
}
