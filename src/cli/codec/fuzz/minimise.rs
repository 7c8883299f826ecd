//! The smallest input that still shows what was found.

use serde_json::Value;

use crate::product::codec::call::Call;

/// Looks at a smaller input; each may cost as much as a limit allows.
const TRIES_MAX: usize = 200;

/// Makes a call smaller as long as `shows` says that it still does the same. `shows` also says
/// when it is time to stop, by `None`.
pub(super) fn minimise(call: Call, mut shows: impl FnMut(&Call) -> Option<bool>) -> Call {
    let mut best = call;
    let mut left = TRIES_MAX;
    loop {
        let mut better = None;
        for smaller in smaller_than(&best) {
            if left == 0 {
                return best;
            }
            left -= 1;
            match shows(&smaller) {
                None => return best,
                Some(true) => {
                    better = Some(smaller);
                    break;
                }
                Some(false) => {}
            }
        }
        match better {
            Some(smaller) => best = smaller,
            None => return best,
        }
    }
}

/// Halves first, single bytes last; then bytes made zero.
fn smaller_than(call: &Call) -> Vec<Call> {
    match call {
        Call::Decode { payload, .. } => {
            let with = |bytes: Vec<u8>| {
                let mut smaller = call.clone();
                if let Call::Decode { payload, .. } = &mut smaller {
                    *payload = bytes;
                }
                smaller
            };
            smaller_bytes(payload).into_iter().map(with).collect()
        }
        Call::Encode { paras, .. } => {
            let without = |name: &String| {
                let mut smaller = call.clone();
                if let Call::Encode { paras, .. } = &mut smaller {
                    paras.shift_remove(name);
                }
                smaller
            };
            let mut all: Vec<Call> = paras.keys().map(without).collect();
            for (name, value) in paras.iter().filter(|(_, v)| v.is_number()) {
                if value.as_f64() != Some(0.0) {
                    let mut smaller = call.clone();
                    if let Call::Encode { paras, .. } = &mut smaller {
                        paras.insert(name.clone(), Value::from(0));
                    }
                    all.push(smaller);
                }
            }
            all
        }
        Call::EncodeProperties { wanted, known, .. } => {
            let mut all = Vec::new();
            for name in wanted.keys().chain(known.keys()) {
                let mut smaller = call.clone();
                if let Call::EncodeProperties { wanted, known, .. } = &mut smaller {
                    // Without anything wanted there is nothing to set.
                    let is_last = wanted.len() == 1 && wanted.contains_key(name);
                    if known.shift_remove(name).is_none() && !is_last {
                        wanted.shift_remove(name);
                    }
                }
                all.extend((smaller != *call).then_some(smaller));
            }
            all
        }
        Call::Answer { request, .. } => {
            let with = |bytes: Vec<u8>| {
                let mut smaller = call.clone();
                if let Call::Answer { request, .. } = &mut smaller {
                    *request = bytes;
                }
                smaller
            };
            smaller_bytes(request).into_iter().map(with).collect()
        }
        Call::DecodeDownlink { bytes } => {
            let with = |bytes: Vec<u8>| Call::DecodeDownlink { bytes };
            smaller_bytes(bytes).into_iter().map(with).collect()
        }
    }
}

fn smaller_bytes(payload: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut width = payload.len();
    while width > 0 {
        let mut at = 0;
        while at < payload.len() {
            let mut bytes = payload.to_vec();
            bytes.drain(at..(at + width).min(payload.len()));
            all.push(bytes);
            at += width;
        }
        width /= 2;
    }
    for at in 0..payload.len() {
        let mut bytes = payload.to_vec();
        if let Some(byte) = bytes.get_mut(at).filter(|byte| **byte != 0) {
            *byte = 0;
            all.push(bytes);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Timestamp;

    #[test]
    fn what_matters_stays() {
        let payload: Vec<u8> = (1..=40).collect();
        let call = Call::Decode {
            payload,
            received_at: Timestamp::from_ms(0),
            f_port: None,
            traced: false,
        };
        let bytes_of = |call: &Call| match call {
            Call::Decode { payload, .. } => payload.clone(),
            _ => Vec::new(),
        };
        let least = minimise(call.clone(), |c| {
            let bytes = bytes_of(c);
            Some(bytes.contains(&7) && bytes.contains(&30))
        });
        assert_eq!(bytes_of(&least), [7, 30]);
        assert_eq!(minimise(call.clone(), |_| None), call);
    }
}
