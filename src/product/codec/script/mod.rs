//! JavaScript codecs (`codec.js`), run by QuickJS.
//!
//! Three contracts, told apart by the functions that a script defines, see `contract.rs`; what else a
//! script finds is in `prelude.js`. Same input, same output: clock, zone and chance are the call's. Each
//! script has an engine of its own, used for all its calls. Errors: `script` for what it throws or gives,
//! with the place in its source; `limit` for memory, stack and time.

mod contract;
mod engine;
mod fault;
mod limits;
mod mistake;
#[cfg(test)]
mod tests;
mod value;

use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use super::call::Options;
use super::{
    AnswerTo, Codec, CodecError, Decoded, Downlink, Encode, EncodeProperties, LoadError,
    PropertySet, TraceEntry, Uplink,
};
use crate::base::limits::CODEC_DEPTH_MAX;
use crate::base::time::{Clock, Timestamp};
use engine::{Engine, Given, Invocation};
use value::{Odd, json_of, message_of};

pub use limits::Limits;

/// The functions of all contracts.
const FUNCTIONS: [&str; 9] = [
    "decodeUplink",
    "encodeDownlink",
    "decodeDownlink",
    "Decode",
    "Decoder",
    "Encode",
    "Encoder",
    "decode",
    "encode",
];
/// The port of uplinks that have none, as NB-IoT's: scripts of the LoRaWAN world ask for one.
const PORT: u8 = 1;

/// Which of the two contracts `decode` and `encode` belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plain {
    Offline,
    Iotda,
}

/// A loaded script: compiled once, its context used for all calls, which wait for each other.
#[derive(Debug)]
pub struct Script {
    source: Box<str>,
    options: Options,
    limits: Limits,
    clock: Clock,
    functions: Vec<&'static str>,
    plain: Plain,
    /// `None`: the last one was spoiled by a limit, the next call makes a new one.
    engine: Mutex<Option<Engine>>,
}

impl Script {
    /// Runs the script's top level once and finds out which contract it has. Errors: syntax errors with
    /// their place, an exception or limit at the top level, a script that defines no function of a
    /// contract.
    pub fn load(source: &str, options: &Options, limits: Limits) -> Result<Self, Vec<LoadError>> {
        let clock = Clock::System;
        let engine = Engine::load(source, &FUNCTIONS, limits)
            .map_err(|fault| vec![mistake::of_fault(fault, source, limits)])?;
        if engine.functions.is_empty() {
            return Err(vec![mistake::no_function(source, &engine.defined())]);
        }
        let plain = match (source.contains("msg_type"), source.contains("msgType")) {
            (true, false) => Plain::Iotda,
            (false, true) => Plain::Offline,
            // Both words, such as in a comment, or neither: a command comes as text in one of them.
            _ if source.contains("JSON.parse") => Plain::Iotda,
            _ => Plain::Offline,
        };
        Ok(Self {
            source: source.into(),
            options: options.clone(),
            limits,
            clock,
            functions: engine.functions.clone(),
            plain,
            engine: Mutex::new(Some(engine)),
        })
    }

    /// Bytes of its heap now, 0 while it has none. The engine counts them one by one.
    pub fn heap_bytes(&self) -> u64 {
        let held = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().map_or(0, Engine::heap_bytes)
    }

    fn has(&self, function: &str) -> bool {
        self.functions.contains(&function)
    }

    /// The clock of what is not caused by an uplink.
    fn now(&self) -> Timestamp {
        self.options.stands_at.unwrap_or_else(|| self.clock.now())
    }

    fn call<T>(
        &self,
        function: &str,
        given: Given<'_>,
        at: Timestamp,
        read: impl for<'js> FnOnce(&rquickjs::Ctx<'js>, &rquickjs::Value<'js>) -> Result<T, Odd>,
    ) -> Result<T, CodecError> {
        let mut held = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        let engine = match held.take() {
            Some(engine) => engine,
            None => Engine::load(&self.source, &FUNCTIONS, self.limits)
                .map_err(|fault| fault.into_error(self.limits.time.as_millis()))?,
        };
        let invocation = Invocation {
            function,
            given,
            at,
        };
        let (result, is_spoiled) = engine.call(&invocation, read);
        if !is_spoiled {
            *held = Some(engine);
        }
        result
    }

    /// What a function that decodes gives.
    fn value(
        &self,
        function: &str,
        bytes: &[u8],
        port: u8,
        at: Timestamp,
    ) -> Result<Value, CodecError> {
        let value = self.call(function, Given::Message { bytes, port }, at, json_of)?;
        Ok(value.unwrap_or_default())
    }

    fn message(&self, function: &str, args: &Value) -> Result<Option<Vec<u8>>, CodecError> {
        let text = args.to_string();
        self.call(function, Given::List(&text), self.now(), |ctx, given| {
            message_of(ctx, given)
        })
    }

    /// `encodeDownlink` gives its bytes in an object, and may say what is wrong.
    fn encode_downlink(&self, input: &Value) -> Result<Option<Vec<u8>>, CodecError> {
        let args = json!([input]).to_string();
        let args = Given::List(&args);
        self.call("encodeDownlink", args, self.now(), |ctx, given| {
            let Some(object) = given.as_object().filter(|o| !o.is_array()) else {
                return message_of(ctx, given);
            };
            let errors: rquickjs::Value<'_> = object.get("errors")?;
            if let Some(Value::Array(errors)) = json_of(ctx, &errors)?
                && !errors.is_empty()
            {
                let text = |e: &Value| e.as_str().map_or_else(|| e.to_string(), str::to_owned);
                let texts: Vec<String> = errors.iter().map(text).collect();
                return Err(Odd::Codec(CodecError::Script {
                    reason: fault::bounded(&texts.join("; ")),
                }));
            }
            message_of(ctx, &object.get("bytes")?)
        })
    }

    /// The function that makes bytes of data in the LoRaWAN world, called.
    fn encode_data(&self, data: &Value, more: &Value) -> Result<Option<Vec<u8>>, CodecError> {
        if self.has("encodeDownlink") {
            let mut input = more.clone();
            if let Some(map) = input.as_object_mut() {
                map.insert("data".to_owned(), data.clone());
                map.insert("fPort".to_owned(), PORT.into());
            }
            return self.encode_downlink(&input);
        }
        match self.has("Encode") {
            true => self.message("Encode", &json!([PORT, data, {}])),
            false => self.message("Encoder", &json!([data, PORT])),
        }
    }

    fn encodes_data(&self) -> bool {
        ["encodeDownlink", "Encode", "Encoder"]
            .iter()
            .any(|name| self.has(name))
    }

    fn encode_plain(&self, input: &Value) -> Result<Option<Vec<u8>>, CodecError> {
        match self.plain {
            Plain::Offline => self.message("encode", &json!([input])),
            Plain::Iotda => self.message("encode", &json!([input.to_string()])),
        }
    }

    fn command(&self, command: &Encode<'_>) -> Result<Vec<u8>, CodecError> {
        let bytes = if self.encodes_data() {
            let more = json!({
                "service_id": command.service_id, "command": command.command_name,
                "mid": command.mid,
            });
            self.encode_data(&Value::Object(command.paras.clone()), &more)?
        } else if self.has("encode") {
            self.encode_plain(&match self.plain {
                Plain::Offline => contract::cloud_req(command),
                Plain::Iotda => contract::commands(command),
            })?
        } else {
            None
        };
        bytes
            .filter(|bytes| !bytes.is_empty())
            .ok_or_else(|| CodecError::UnknownCommand {
                service_id: command.service_id.to_owned(),
                command_name: command.command_name.to_owned(),
            })
    }
}

impl Codec for Script {
    fn decode(
        &self,
        uplink: &Uplink<'_>,
        trace: Option<&mut Vec<TraceEntry>>,
    ) -> Result<Decoded, CodecError> {
        let port = uplink.f_port.unwrap_or(PORT);
        let at = uplink.received_at;
        let decoders = ["decodeUplink", "Decode", "Decoder", "decode"];
        let Some(function) = decoders.into_iter().find(|name| self.has(name)) else {
            return Err(CodecError::Script {
                reason: "the script has no function that decodes".to_owned(),
            });
        };
        let value = self.value(function, uplink.payload, port, at)?;
        if function == "decode" {
            return contract::decoded(text_as_json(value)?);
        }
        let (decoded, warnings) =
            contract::ts013(value, function == "decodeUplink", &self.options)?;
        if let (Some(trace), false) = (trace, warnings.is_empty()) {
            trace.push(TraceEntry {
                at: 0,
                len: uplink.payload.len(),
                field: "warnings".to_owned(),
                value: json!(warnings),
            });
        }
        Ok(decoded)
    }

    fn encode(&self, command: &Encode<'_>) -> Result<Vec<u8>, CodecError> {
        self.command(command)
    }

    /// Data of the LoRaWAN world has no mid; where a script gets one, it is tried whether the message
    /// changes with it.
    fn answers_by_mid(&self, command: &Encode<'_>) -> bool {
        if self.encodes_data() {
            return false;
        }
        let other = Encode {
            mid: if command.mid == 1 { 2 } else { 1 },
            ..*command
        };
        match (self.command(command), self.command(&other)) {
            (Ok(one), Ok(other)) => one != other,
            _ => false,
        }
    }

    /// The data of a TS013 message, which doesn't say which command it is.
    fn decode_downlink(&self, bytes: &[u8]) -> Option<Result<Downlink, CodecError>> {
        if !self.has("decodeDownlink") {
            return None;
        }
        let value = self.value("decodeDownlink", bytes, PORT, self.now());
        Some(value.and_then(|value| {
            let (decoded, _) = contract::ts013(value, true, &Options::default())?;
            let paras = match decoded {
                Decoded::Report(report) => report.services.into_iter().next(),
                _ => None,
            };
            Ok(Downlink::Data {
                paras: paras.map(|s| s.properties).unwrap_or_default(),
            })
        }))
    }

    fn encode_properties(&self, set: &EncodeProperties<'_>) -> Result<PropertySet, CodecError> {
        let bytes = if self.encodes_data() {
            let more = json!({ "service_id": set.service_id, "mid": set.mid });
            self.encode_data(&Value::Object(set.wanted.clone()), &more)?
        } else if self.has("encode") && self.plain == Plain::Iotda {
            self.encode_plain(&contract::properties_set(set))?
        } else {
            None
        };
        let bytes = bytes.filter(|bytes| !bytes.is_empty());
        Ok(PropertySet {
            bytes: bytes.ok_or_else(|| CodecError::no_property_set(set))?,
            covered: set.wanted.keys().cloned().collect(),
        })
    }

    fn answer(&self, report: &AnswerTo<'_>) -> Result<Option<Vec<u8>>, CodecError> {
        let answers =
            self.plain == Plain::Offline && self.has("encode") && self.source.contains("cloudRsp");
        if !answers {
            return Ok(None);
        }
        let bytes = self.encode_plain(&contract::cloud_rsp(report))?;
        Ok(bytes.filter(|bytes| !bytes.is_empty()))
    }
}

/// What `decode` gives may be JSON as text, which is read here rather than by the script's own `JSON`.
fn text_as_json(value: Value) -> Result<Value, CodecError> {
    let Value::String(text) = value else {
        return Ok(value);
    };
    if text.is_empty() {
        return Ok(Value::Null);
    }
    let value: Value = serde_json::from_str(&text).map_err(|e| CodecError::Json {
        reason: format!("decode gave text that is none: {e}"),
    })?;
    match is_deeper(&value, CODEC_DEPTH_MAX) {
        true => Err(CodecError::Depth {
            max: CODEC_DEPTH_MAX,
        }),
        false => Ok(value),
    }
}

fn is_deeper(value: &Value, left: usize) -> bool {
    let below = left.checked_sub(1);
    match (value, below) {
        (Value::Array(list), Some(below)) => list.iter().any(|one| is_deeper(one, below)),
        (Value::Object(map), Some(below)) => map.values().any(|one| is_deeper(one, below)),
        (Value::Array(_) | Value::Object(_), None) => true,
        _ => false,
    }
}
