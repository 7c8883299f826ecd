//! Payloads made of payloads: bits, bytes, lengths and numbers changed where messages break.

use fastrand::Rng;

/// Longest payload that is made.
pub(super) const PAYLOAD_MAX: usize = 1024;
/// Changes to one payload.
const CHANGES_MAX: usize = 4;
/// Bytes at which counts and signs turn.
const EDGES: [u8; 8] = [0, 1, 0x0a, 0x7f, 0x80, 0xfe, 0xff, 0x40];

/// A payload made of one of `seeds`, or of nothing.
pub(super) fn mutate(rng: &mut Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let Some(seed) = pick(rng, seeds) else {
        return noise(rng);
    };
    // Now and then something that no fixture knows.
    if rng.u8(..) < 16 {
        return noise(rng);
    }
    let mut payload = seed.clone();
    for _ in 0..rng.usize(1..=CHANGES_MAX) {
        change(rng, &mut payload, seeds);
    }
    payload.truncate(PAYLOAD_MAX);
    payload
}

fn noise(rng: &mut Rng) -> Vec<u8> {
    let len = match rng.u8(..4) {
        0 => rng.usize(0..4),
        1 | 2 => rng.usize(0..64),
        _ => rng.usize(0..=PAYLOAD_MAX),
    };
    (0..len).map(|_| rng.u8(..)).collect()
}

fn change(rng: &mut Rng, payload: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let len = payload.len();
    let at = rng.usize(0..=len);
    let end = at + rng.usize(0..=(len - at).min(16));
    match rng.u8(..9) {
        0 => {
            if let Some(byte) = payload.get_mut(at) {
                *byte ^= 1 << rng.u8(..8);
            }
        }
        1 => {
            if let Some(byte) = payload.get_mut(at) {
                *byte = rng.u8(..);
            }
        }
        2 => {
            if let (Some(byte), Some(edge)) = (payload.get_mut(at), pick(rng, &EDGES)) {
                *byte = *edge;
            }
        }
        3 => payload.truncate(at),
        4 => {
            payload.drain(at..end);
        }
        5 => {
            let more: Vec<u8> = (0..rng.usize(1..=16)).map(|_| rng.u8(..)).collect();
            payload.splice(at..at, more);
        }
        6 => {
            let again = payload.get(at..end).unwrap_or_default().to_vec();
            payload.splice(at..at, again);
        }
        7 => {
            let other = pick(rng, seeds).map_or(&[][..], Vec::as_slice);
            let tail = other.get(rng.usize(0..=other.len())..).unwrap_or_default();
            payload.truncate(at);
            payload.extend_from_slice(tail);
        }
        _ => {
            for byte in payload.get_mut(at..end).unwrap_or_default() {
                *byte = 0xff;
            }
        }
    }
}

pub(super) fn pick<'a, T>(rng: &mut Rng, items: &'a [T]) -> Option<&'a T> {
    if items.is_empty() {
        return None;
    }
    items.get(rng.usize(0..items.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_stay_bounded_and_follow_their_seed() {
        let seeds = vec![vec![1, 2, 3], vec![9; PAYLOAD_MAX], Vec::new()];
        let run = |seed: u64| -> Vec<Vec<u8>> {
            let mut rng = Rng::with_seed(seed);
            (0..2000).map(|_| mutate(&mut rng, &seeds)).collect()
        };
        let payloads = run(7);
        assert!(payloads.iter().all(|p| p.len() <= PAYLOAD_MAX));
        assert_eq!(payloads, run(7));
        assert_ne!(payloads, run(8));
        let near = |p: &&Vec<u8>| p.len() == 3 && p[..2] == [1, 2] && p[2] != 3;
        assert!(payloads.iter().any(|p| near(&p)), "none is near its seed");
        assert!(mutate(&mut Rng::with_seed(1), &[]).len() <= PAYLOAD_MAX);
    }
}
