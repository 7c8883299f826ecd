//! How a product's codec does: its calls, their failures and times, for `/metrics` and for
//! `GET /v1/products/{product_id}/codec/status`.
//!
//! Counted in this process, from the moment when the codec began to run in it. On `/metrics` the first
//! `OWN_LABELS` products have a label of their own and all others share `other`, so that the number of series is
//! bounded. Times are those that who calls waits for: of a codec that runs elsewhere with its way there and back.
//! Times in nanoseconds fall into buckets, four in each doubling, so a percentile is right to a quarter.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use metrics::{Counter, Histogram, counter, describe_counter, describe_histogram, histogram};

use crate::base::ids::ProductId;
use crate::base::time::{Clock, Timestamp};
use crate::product::codec::CodecError;

/// Products with series of their own.
const OWN_LABELS: usize = 200;
/// What the others share.
const OTHERS: &str = "other";

/// Calls on a codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    Decode,
    Encode,
    Set,
    Answer,
}

impl Sort {
    const ALL: [Self; 4] = [Self::Decode, Self::Encode, Self::Set, Self::Answer];

    /// Stable word for metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Encode => "encode",
            Self::Set => "set",
            Self::Answer => "answer",
        }
    }
}

/// Below this, in nanoseconds as a power of two, all times are one.
const FIRST_LOG: u32 = 7;
/// Up to 17 s.
const BUCKETS: usize = 1 + 4 * 27;

/// Who has a label of its own. A product that is deleted keeps it: the series stay as long as the process.
#[derive(Debug, Default)]
pub struct Labels(Mutex<HashSet<ProductId>>);

impl Labels {
    /// The product's label.
    pub fn of(&self, id: &ProductId) -> Arc<str> {
        let mut own = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if own.contains(id) || own.len() < OWN_LABELS {
            own.insert(id.clone());
            return id.as_str().into();
        }
        OTHERS.into()
    }
}

/// The figures of one product's codec.
#[derive(Debug)]
pub struct Rates {
    clock: Clock,
    label: Arc<str>,
    since: Timestamp,
    /// By [`Sort::ALL`].
    done: [AtomicU64; 4],
    failed: Mutex<BTreeMap<&'static str, u64>>,
    /// Of decoding.
    times: [AtomicU64; BUCKETS],
    /// Handles are made when they are first needed: a product without traffic has no series.
    counters: [OnceLock<Counter>; 4],
    seconds: OnceLock<Histogram>,
}

/// What was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    pub since: Timestamp,
    pub decoded: u64,
    /// Commands and sets.
    pub encoded: u64,
    /// By kind of the error.
    pub failed: BTreeMap<&'static str, u64>,
    pub decode_times: Option<Times>,
}

/// Percentiles, rounded up to a bucket's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    pub p50: Duration,
    pub p90: Duration,
    pub p99: Duration,
    pub max: Duration,
}

impl Rates {
    pub fn new(clock: &Clock, label: Arc<str>) -> Self {
        describe_counter!(
            "strait_codec_calls_total",
            "Calls on codecs, by product, call and outcome"
        );
        describe_histogram!(
            "strait_codec_call_seconds",
            "How long calls on codecs took, by product"
        );
        Self {
            clock: clock.clone(),
            label,
            since: clock.now(),
            done: std::array::from_fn(|_| AtomicU64::new(0)),
            failed: Mutex::default(),
            times: std::array::from_fn(|_| AtomicU64::new(0)),
            counters: std::array::from_fn(|_| OnceLock::new()),
            seconds: OnceLock::new(),
        }
    }

    /// Counts a call that is made here.
    pub fn measure<T>(
        &self,
        sort: Sort,
        work: impl FnOnce() -> Result<T, CodecError>,
    ) -> Result<T, CodecError> {
        let began = self.clock.instant();
        let result = work();
        let took = self.clock.instant().saturating_duration_since(began);
        self.count(sort, result.as_ref().err(), took);
        result
    }

    /// Counts a call that was made.
    pub fn count(&self, sort: Sort, error: Option<&CodecError>, took: Duration) {
        let seconds = self.seconds.get_or_init(
            || histogram!("strait_codec_call_seconds", "product_id" => self.label.to_string()),
        );
        seconds.record(took.as_secs_f64());
        if sort == Sort::Decode
            && let Some(bucket) = self.times.get(bucket_of(took))
        {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        let Some(error) = error else {
            let at = sort as usize;
            if let (Some(done), Some(counter)) = (self.done.get(at), self.counters.get(at)) {
                done.fetch_add(1, Ordering::Relaxed);
                counter
                    .get_or_init(|| self.counter(sort, "ok"))
                    .increment(1);
            }
            return;
        };
        let kind = error.kind();
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failed.entry(kind).or_default();
        *count = count.saturating_add(1);
        drop(failed);
        self.counter(sort, kind).increment(1);
    }

    fn counter(&self, sort: Sort, outcome: &'static str) -> Counter {
        counter!("strait_codec_calls_total", "product_id" => self.label.to_string(),
            "call" => sort.word(), "outcome" => outcome)
    }

    /// What was counted so far.
    pub fn read(&self) -> Counted {
        let done = |wanted: &dyn Fn(Sort) -> bool| {
            let each = Sort::ALL.into_iter().zip(&self.done);
            each.filter(|(sort, _)| wanted(*sort))
                .map(|(_, n)| n.load(Ordering::Relaxed))
                .sum()
        };
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let times: Vec<u64> = self
            .times
            .iter()
            .map(|n| n.load(Ordering::Relaxed))
            .collect();
        Counted {
            since: self.since,
            decoded: done(&|sort| sort == Sort::Decode),
            encoded: done(&|sort| matches!(sort, Sort::Encode | Sort::Set)),
            failed: failed.clone(),
            decode_times: times_of(&times),
        }
    }
}

fn bucket_of(took: Duration) -> usize {
    let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    let Some(log) = ns.checked_ilog2().filter(|log| *log >= FIRST_LOG) else {
        return 0;
    };
    let quarter = (ns >> (log - 2)) & 3;
    let index = u64::from(log - FIRST_LOG) * 4 + quarter + 1;
    usize::try_from(index).map_or(BUCKETS - 1, |index| index.min(BUCKETS - 1))
}

/// Where a bucket ends.
fn end_of(bucket: usize) -> Duration {
    let Some(above) = bucket.checked_sub(1) else {
        return Duration::from_nanos(1 << FIRST_LOG);
    };
    let (octave, quarter) = (above / 4, above % 4);
    let size = 1_u64 << (FIRST_LOG - 2);
    let quarters = u64::try_from(quarter + 5).unwrap_or(8);
    Duration::from_nanos((size * quarters) << octave.min(32))
}

fn times_of(counts: &[u64]) -> Option<Times> {
    let total = counts.iter().sum::<u64>();
    let last = counts.iter().rposition(|n| *n > 0)?;
    let percentile = |percent: u64| {
        let wanted = (total * percent).div_ceil(100);
        let mut below = 0;
        let found = counts.iter().position(|n| {
            below += n;
            below >= wanted
        });
        end_of(found.unwrap_or(last))
    };
    Some(Times {
        p50: percentile(50),
        p90: percentile(90),
        p99: percentile(99),
        max: end_of(last),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_lies_below_the_end_of_its_bucket_and_not_below_the_end_before() {
        for ns in [
            0,
            1,
            127,
            128,
            159,
            160,
            1_000,
            65_535,
            65_536,
            1_000_000_000,
        ] {
            let took = Duration::from_nanos(ns);
            let bucket = bucket_of(took);
            assert!(took < end_of(bucket), "{ns} in {bucket}");
            assert!(
                bucket == 0 || took >= end_of(bucket - 1),
                "{ns} in {bucket}"
            );
        }
        assert_eq!(bucket_of(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn what_was_counted_is_read() {
        let rates = Rates::new(&Clock::manual(Timestamp::from_ms(7)), "p".into());
        assert_eq!(rates.read().decode_times, None);
        for us in 1..=100 {
            rates.count(Sort::Decode, None, Duration::from_micros(us));
        }
        let error = CodecError::Trailing { at: 1, left: 2 };
        rates.count(Sort::Encode, Some(&error), Duration::from_millis(9));
        rates.count(Sort::Set, None, Duration::ZERO);
        rates.count(Sort::Answer, None, Duration::ZERO);
        let read = rates.read();
        assert_eq!((read.decoded, read.encoded), (100, 1));
        assert_eq!(read.failed, BTreeMap::from([("trailing", 1)]));
        assert_eq!(read.since, Timestamp::from_ms(7));
        let times = read.decode_times.unwrap();
        let near = |time: Duration, us: u64| {
            let us = Duration::from_micros(us);
            time >= us && time <= us + us / 4 + us / 100
        };
        assert!(near(times.p50, 50) && near(times.p90, 90), "{times:?}");
        assert!(near(times.p99, 99) && near(times.max, 100), "{times:?}");
    }

    #[test]
    fn labels_are_bounded_and_stay() {
        let labels = Labels::default();
        let id = |n: usize| ProductId::parse(&format!("p{n}")).unwrap();
        for n in 0..OWN_LABELS {
            assert_eq!(&*labels.of(&id(n)), id(n).as_str());
        }
        assert_eq!(&*labels.of(&id(OWN_LABELS)), OTHERS);
        assert_eq!(&*labels.of(&id(3)), "p3");
    }
}
