//! The shortest time that a campaign can take in a cell, whatever decides who goes when.
//!
//! With p a job's time alone, a its airtime, r when it can first be reached, k its pool's slots:
//! `max( max_j(r_j + p_j), max_{pool,t}[t + sum of p_j / k of r_j >= t], max_t[t + sum of a_j of r_j >= t] )`.
//! Microseconds.

/// One download.
#[derive(Debug, Clone, Copy)]
pub struct Job {
    pub reachable_us: u64,
    pub alone_us: u64,
    /// How long it holds a slot when it is alone.
    pub slot_us: u64,
    pub airtime_us: u64,
    pub pool: usize,
}

/// No schedule ends before this. `slots` are those of each pool.
pub fn lower_bound_us(jobs: &[Job], slots: &[u32]) -> u64 {
    let single = jobs.iter().map(|j| j.reachable_us + j.alone_us).max();
    let mut latest_first: Vec<&Job> = jobs.iter().collect();
    latest_first.sort_unstable_by_key(|j| std::cmp::Reverse(j.reachable_us));
    let mut best = single.unwrap_or(0);
    let mut airtime = 0;
    let mut held = vec![0; slots.len()];
    for job in latest_first {
        airtime += job.airtime_us;
        best = best.max(job.reachable_us + airtime);
        if let (Some(held), Some(slots)) = (held.get_mut(job.pool), slots.get(job.pool)) {
            *held += job.slot_us;
            best = best.max(job.reachable_us + *held / u64::from((*slots).max(1)));
        }
    }
    best
}
