//! What one execution of a codec shows: whether it is fine, or what is wrong with it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::{Map, Value};

use super::search::Sort;
use crate::cli::codec::bundle::Bundle;
use crate::product::check;
use crate::product::codec::call::{Call, Reply};
use crate::product::codec::{CodecError, Decoded, Downlink, PropertySet};

/// What one execution shows.
pub(super) enum Judged {
    Fine {
        /// What an encoded command became.
        bytes: Option<Vec<u8>>,
        /// Short for what came out: a new one is worth keeping.
        sign: String,
    },
    Refused(CodecError),
    /// There is nothing left to ask.
    Gone(String),
    Found(Sort, String),
}

/// Performs one call and judges what comes of it.
pub(super) fn judge(bundle: &Bundle, call: &Call) -> Judged {
    let codec = &*bundle.codec;
    let performed = catch_unwind(AssertUnwindSafe(|| call.perform(codec)));
    let reply = match performed {
        Err(panic) => return Judged::Found(Sort::Crash, text_of(&*panic)),
        Ok(Err(error)) => match judge_error(error) {
            Judged::Refused(error) => return judge_refusal(bundle, call, error),
            other => return other,
        },
        Ok(Ok(reply)) => reply,
    };
    match (call, reply) {
        (_, Reply::Decoded { decoded, .. }) => judge_decoded(bundle, decoded),
        (_, Reply::Encoded { bytes, .. }) => judge_encoded(bundle, call, bytes),
        (_, Reply::Set(set)) => judge_set(bundle, call, set),
        (_, Reply::Answer(Some(bytes))) => judge_answer(bundle, call, bytes.into_vec()),
        (_, Reply::Downlink(Some(Err(error)))) => judge_error(error),
        (_, _) => Judged::Fine {
            bytes: None,
            sign: call.name().to_owned(),
        },
    }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without text").to_owned()
}

fn judge_decoded(bundle: &Bundle, mut decoded: Decoded) -> Judged {
    let mut sign = String::new();
    match &mut decoded {
        Decoded::Report(report) => {
            for service in &report.services {
                sign.push_str(&service.service_id);
                for name in service.properties.keys() {
                    sign.push('.');
                    sign.push_str(name);
                }
            }
            let broken = bundle.profile.as_ref().map(|p| check::report(p, report));
            if let Some(first) = broken.and_then(|broken| broken.into_iter().next()) {
                let detail = format!("{}: {}", first.path, first.message);
                return Judged::Found(Sort::Model, detail);
            }
        }
        Decoded::Response(response) => {
            sign = format!("response {:?}", response.response_name);
        }
        Decoded::Nothing => sign.push_str("nothing"),
    }
    Judged::Fine { bytes: None, sign }
}

/// An error is right when the parameters don't fit the model, or there is none.
fn judge_refusal(bundle: &Bundle, call: &Call, error: CodecError) -> Judged {
    let (
        Some(profile),
        Call::Encode {
            service_id,
            command_name,
            paras,
            ..
        },
    ) = (&bundle.profile, call)
    else {
        return Judged::Refused(error);
    };
    if check::command(profile, service_id, command_name, paras).is_empty() {
        return Judged::Found(Sort::Refused, format!("{command_name}: {error}"));
    }
    Judged::Refused(error)
}

fn judge_encoded(bundle: &Bundle, call: &Call, bytes: Vec<u8>) -> Judged {
    let Call::Encode {
        command_name,
        paras,
        mid,
        ..
    } = call
    else {
        return stray();
    };
    let told = |what: String| Judged::Found(Sort::RoundTrip, format!("{command_name}: {what}"));
    let differs = |back: &Downlink| match back {
        Downlink::Command {
            command_name: name, ..
        } if name != command_name => Some(format!("is read back as {name}")),
        Downlink::Command {
            mid: Some(number), ..
        } if number != mid => Some(format!("mid {mid} is read back as {number}")),
        Downlink::Command { paras: back, .. } | Downlink::Data { paras: back } => {
            difference(paras, back)
        }
        Downlink::Set { .. } | Downlink::Answer { .. } => None,
    };
    match read_back(bundle, &bytes, differs) {
        Ok(()) => Judged::Fine {
            bytes: Some(bytes),
            sign: format!("command {command_name}"),
        },
        Err(Back::Differs(what)) => told(what),
        Err(Back::Judged(judged)) => *judged,
    }
}

/// Of those that the message sets, each property says the same when it is read back.
fn judge_set(bundle: &Bundle, call: &Call, set: PropertySet) -> Judged {
    let Call::EncodeProperties {
        service_id, wanted, ..
    } = call
    else {
        return stray();
    };
    let covered = wanted.iter().filter(|(name, _)| set.covered.contains(name));
    let covered: Map<String, Value> = covered.map(|(n, v)| (n.clone(), v.clone())).collect();
    let differs = |back: &Downlink| match back {
        Downlink::Set {
            properties: back, ..
        }
        | Downlink::Data { paras: back } => difference(&covered, back),
        Downlink::Command { .. } | Downlink::Answer { .. } => None,
    };
    match read_back(bundle, &set.bytes, differs) {
        Ok(()) => Judged::Fine {
            bytes: Some(set.bytes),
            sign: format!("set {service_id} {:?}", set.covered),
        },
        Err(Back::Differs(what)) => {
            let detail = format!("setting {service_id}: {what}");
            Judged::Found(Sort::RoundTrip, detail)
        }
        Err(Back::Judged(judged)) => *judged,
    }
}

fn judge_answer(bundle: &Bundle, call: &Call, bytes: Vec<u8>) -> Judged {
    let Call::Answer {
        errcode, has_more, ..
    } = call
    else {
        return stray();
    };
    let differs = |back: &Downlink| match back {
        Downlink::Answer {
            errcode: Some(code),
            ..
        } if *code != u64::from(*errcode) => {
            Some(format!("errcode {errcode} is read back as {code}"))
        }
        Downlink::Answer {
            has_more: Some(more),
            ..
        } if more != has_more => Some(format!("has_more {has_more} is read back as {more}")),
        _ => None,
    };
    match read_back(bundle, &bytes, differs) {
        Ok(()) => Judged::Fine {
            bytes: Some(bytes),
            sign: format!("answer {errcode} {has_more}"),
        },
        Err(Back::Differs(what)) => Judged::Found(Sort::RoundTrip, format!("answer: {what}")),
        Err(Back::Judged(judged)) => *judged,
    }
}

/// What is wrong with a message that was read back.
enum Back {
    Differs(String),
    Judged(Box<Judged>),
}

/// Reads a message back, as far as the codec can, and compares.
fn read_back(
    bundle: &Bundle,
    bytes: &[u8],
    differs: impl Fn(&Downlink) -> Option<String>,
) -> Result<(), Back> {
    let read = catch_unwind(AssertUnwindSafe(|| bundle.codec.decode_downlink(bytes)));
    let judged = |judged: Judged| Err(Back::Judged(Box::new(judged)));
    match read {
        Err(panic) => judged(Judged::Found(Sort::Crash, text_of(&*panic))),
        Ok(None) => Ok(()),
        Ok(Some(Err(error))) => match judge_error(error) {
            Judged::Refused(error) => Err(Back::Differs(format!("can't be read back: {error}"))),
            other => judged(other),
        },
        Ok(Some(Ok(back))) => differs(&back).map_or(Ok(()), |what| Err(Back::Differs(what))),
    }
}

/// The server asked for something else.
fn stray() -> Judged {
    Judged::Refused(CodecError::Unavailable {
        reason: "the codec answered another question".to_owned(),
    })
}

/// An error that no input may cause, or one that it may.
fn judge_error(error: CodecError) -> Judged {
    match error {
        CodecError::Unavailable { reason } => Judged::Gone(reason),
        error if error.is_limit() => Judged::Found(Sort::Limit, error.to_string()),
        error @ CodecError::Trap { .. } => Judged::Found(Sort::Crash, error.to_string()),
        error => Judged::Refused(error),
    }
}

/// The first parameter that is not read back as it was.
fn difference(paras: &Map<String, Value>, back: &Map<String, Value>) -> Option<String> {
    let differs = |(name, value): &(&String, &Value)| {
        !back.get(*name).is_some_and(|other| same(value, other))
    };
    let (name, value) = paras.iter().find(differs)?;
    let other = back.get(name).unwrap_or(&Value::Null);
    Some(format!("{name} is {value}, and {other} when read back"))
}

/// Numbers are compared by what they say, as in fixtures.
fn same(a: &Value, b: &Value) -> bool {
    a == b || a.is_number() && b.is_number() && a.as_f64() == b.as_f64()
}
