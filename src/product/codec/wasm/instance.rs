//! A loaded codec: one instance of its component, used for one call after the other, replaced after a
//! trap or a limit.

use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::component::{ComponentNamedList, Instance, InstancePre, Lift, Lower, TypedFunc};
use wasmtime::{ResourceLimiter, Store, Trap};

use super::form;
use super::runtime::mistake;
use super::ticker::{TICKS, Ticker};
use crate::base::limits::{CODEC_OUTPUT_MAX, WASM_CALL_TIME_MS, WASM_MEMORY_MAX, WASM_STACK_MAX};
use crate::product::codec::{
    AnswerTo, Codec, CodecError, Decoded, Downlink, Encode, EncodeProperties, LoadError,
    PropertySet, TraceEntry, Uplink,
};

/// Version of the JSON forms, see `codec.wit`.
const FORMS: u32 = 1;
/// Bytes that one call may hand over, its answer's with all parts of it.
const HANDED_MAX: usize = 2 * CODEC_OUTPUT_MAX;

type Text = Result<String, String>;
type Bytes = Result<Vec<u8>, String>;
type Set = Result<Option<(Vec<u8>, Vec<String>)>, String>;
type Answer = Result<Option<Vec<u8>>, String>;
type Reported = (Vec<u8>, u8, bool);

/// What a store holds: the bound of its memory, and how much of it is used.
#[derive(Debug, Default)]
pub(super) struct Held {
    bytes: usize,
    /// More was asked for.
    over: bool,
}

impl ResourceLimiter for Held {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let wanted = self.bytes.saturating_add(desired.saturating_sub(current));
        if wanted > WASM_MEMORY_MAX {
            self.over = true;
            // Most code has no way on without memory: an error tells more than what it would do.
            return Err(wasmtime::Error::msg("memory is used up"));
        }
        self.bytes = wanted;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        _desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // The pool bounds it.
        Ok(true)
    }
}

/// A running instance and its functions.
struct Live {
    store: Store<Held>,
    decode: TypedFunc<(Vec<u8>, u64, Option<u8>), (Text,)>,
    encode: TypedFunc<(String,), (Bytes,)>,
    answers_by_mid: Option<TypedFunc<(String,), (bool,)>>,
    encode_properties: Option<TypedFunc<(String,), (Set,)>>,
    answer: Option<TypedFunc<Reported, (Answer,)>>,
    decode_downlink: Option<TypedFunc<(Vec<u8>,), (Text,)>>,
}

/// A codec in WebAssembly. Its calls wait for each other.
pub struct Wasm {
    ready: InstancePre<Held>,
    ticker: Arc<Ticker>,
    /// `None` after a trap or a limit, until the next call.
    live: Mutex<Option<Live>>,
}

impl std::fmt::Debug for Wasm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wasm").finish_non_exhaustive()
    }
}

/// What can come of beginning an instance.
enum Begun {
    Mistakes(Vec<LoadError>),
    Failed(CodecError),
}

impl Wasm {
    /// Errors: every export that does not fit, or what the code ran into.
    pub(super) fn begin(
        ready: InstancePre<Held>,
        ticker: Arc<Ticker>,
    ) -> Result<Self, Vec<LoadError>> {
        let codec = Self {
            ready,
            ticker,
            live: Mutex::new(None),
        };
        let live = codec.instantiate().map_err(|begun| match begun {
            Begun::Mistakes(mistakes) => mistakes,
            Begun::Failed(error) => vec![mistake(format!("it does not begin: {error}"), None)],
        })?;
        *codec.live.lock().unwrap_or_else(PoisonError::into_inner) = Some(live);
        Ok(codec)
    }

    /// Bytes of memory that its instance has.
    pub fn memory_bytes(&self) -> u64 {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = live.as_ref().map_or(0, |live| live.store.data().bytes);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    fn instantiate(&self) -> Result<Live, Begun> {
        let mut store = Store::new(self.ready.engine(), Held::default());
        store.limiter(|held| held);
        store.set_hostcall_fuel(HANDED_MAX);
        self.arm(&mut store);
        let instance = match self.ready.instantiate(&mut store) {
            Ok(instance) => instance,
            Err(error) => return Err(Begun::Failed(failure(&error, store.data()))),
        };
        let mut exports = Exports {
            store: &mut store,
            instance,
            mistakes: Vec::new(),
        };
        let version = exports.needed::<(), (u32,)>("model-version", "func() -> u32");
        let decode = exports.needed("decode", form::DECODE);
        let encode = exports.needed("encode", form::ENCODE);
        let answers_by_mid = exports.optional("answers-by-mid", form::ANSWERS_BY_MID);
        let encode_properties = exports.optional("encode-properties", form::SET);
        let answer = exports.optional("answer", form::ANSWER);
        let decode_downlink = exports.optional("decode-downlink", form::DECODE_DOWNLINK);
        let mistakes = exports.mistakes;
        let (Some(version), Some(decode), Some(encode), true) =
            (version, decode, encode, mistakes.is_empty())
        else {
            return Err(Begun::Mistakes(mistakes));
        };
        match version.call(&mut store, ()) {
            Ok((FORMS,)) => {}
            Ok((other,)) => {
                let message = format!("model-version: is {other}, takes {FORMS}");
                return Err(Begun::Mistakes(vec![mistake(message, None)]));
            }
            Err(error) => return Err(Begun::Failed(failure(&error, store.data()))),
        }
        Ok(Live {
            store,
            decode,
            encode,
            answers_by_mid,
            encode_properties,
            answer,
            decode_downlink,
        })
    }

    /// Gives the store's code its time from now on.
    fn arm(&self, store: &mut Store<Held>) {
        self.ticker.note_call();
        store.set_epoch_deadline(TICKS);
    }

    /// Calls a function of the instance, a fresh one where there is none. `None`: it has no such
    /// function.
    fn call<P, R>(
        &self,
        function: impl Fn(&Live) -> Option<TypedFunc<P, (R,)>>,
        params: P,
    ) -> Result<Option<R>, CodecError>
    where
        P: ComponentNamedList + Lower,
        (R,): ComponentNamedList + Lift,
    {
        let mut place = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let mut live = match place.take() {
            Some(live) => live,
            None => self.instantiate().map_err(|begun| match begun {
                Begun::Failed(error) => error,
                Begun::Mistakes(_) => CodecError::Unavailable {
                    reason: "it began before, and does not now".to_owned(),
                },
            })?,
        };
        let Some(function) = function(&live) else {
            *place = Some(live);
            return Ok(None);
        };
        self.arm(&mut live.store);
        match function.call(&mut live.store, params) {
            Ok((result,)) => {
                *place = Some(live);
                Ok(Some(result))
            }
            // The instance is dropped: what it holds may be half done.
            Err(error) => Err(failure(&error, live.store.data())),
        }
    }

    /// As [`Wasm::call`] for a function that may refuse, and gives nothing where it is not there.
    fn ask<P, R>(
        &self,
        function: impl Fn(&Live) -> Option<TypedFunc<P, (Result<Option<R>, String>,)>>,
        params: P,
    ) -> Result<Option<R>, CodecError>
    where
        P: ComponentNamedList + Lower,
        (Result<Option<R>, String>,): ComponentNamedList + Lift,
    {
        match self.call(function, params)? {
            None => Ok(None),
            Some(answer) => answer.map_err(form::refused),
        }
    }
}

/// Looks exports up and notes what is wrong with them.
struct Exports<'a> {
    store: &'a mut Store<Held>,
    instance: Instance,
    mistakes: Vec<LoadError>,
}

impl Exports<'_> {
    fn needed<P, R>(&mut self, name: &str, signature: &str) -> Option<TypedFunc<P, R>>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        if self
            .instance
            .get_export_index(&mut *self.store, None, name)
            .is_none()
        {
            let message = format!("exports no {name}: {signature}");
            let hint = "export the functions of world `codec` of package strait:codec";
            self.mistakes.push(mistake(message, Some(hint)));
            return None;
        }
        self.optional(name, signature)
    }

    fn optional<P, R>(&mut self, name: &str, signature: &str) -> Option<TypedFunc<P, R>>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        self.instance
            .get_export_index(&mut *self.store, None, name)?;
        match self.instance.get_typed_func(&mut *self.store, name) {
            Ok(function) => Some(function),
            Err(error) => {
                let message = format!("{name} is not {signature}: {error:#}");
                self.mistakes.push(mistake(message, None));
                None
            }
        }
    }
}

/// Why a call ended before its answer.
fn failure(error: &wasmtime::Error, held: &Held) -> CodecError {
    let limit = |what: String| CodecError::Limit { what };
    if held.over {
        return limit(format!("{WASM_MEMORY_MAX} bytes of memory"));
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => limit(format!("{WASM_CALL_TIME_MS} ms")),
        Some(Trap::StackOverflow) => limit(format!("{WASM_STACK_MAX} bytes of stack")),
        // Code that gets here overwrites its own memory: it is struck, as one that takes too much.
        Some(Trap::MemoryOutOfBounds | Trap::TableOutOfBounds) => {
            limit("an access out of bounds of its memory".to_owned())
        }
        Some(trap) => CodecError::Trap {
            reason: trap.to_string(),
        },
        None => {
            let reason = format!("{error:#}");
            if reason.contains("fuel allocated for hostcalls") {
                return CodecError::Output {
                    max: CODEC_OUTPUT_MAX,
                };
            }
            CodecError::Trap { reason }
        }
    }
}

impl Codec for Wasm {
    /// Gives no trace: the code is not known.
    fn decode(
        &self,
        uplink: &Uplink<'_>,
        _trace: Option<&mut Vec<TraceEntry>>,
    ) -> Result<Decoded, CodecError> {
        let params = (
            uplink.payload.to_vec(),
            uplink.received_at.as_ms(),
            uplink.f_port,
        );
        let text = self.call(|live| Some(live.decode), params)?;
        form::decoded(&text.transpose().map_err(form::refused)?.unwrap_or_default())
    }

    fn encode(&self, command: &Encode<'_>) -> Result<Vec<u8>, CodecError> {
        let text = form::command(command)?;
        let bytes = self.call(|live| Some(live.encode), (text,))?;
        form::bounded(
            bytes
                .transpose()
                .map_err(form::refused)?
                .unwrap_or_default(),
        )
    }

    fn decode_downlink(&self, bytes: &[u8]) -> Option<Result<Downlink, CodecError>> {
        match self.call(|live| live.decode_downlink, (bytes.to_vec(),)) {
            Ok(None) => None,
            Ok(Some(text)) => Some(text.map_err(form::refused).and_then(|t| form::downlink(&t))),
            Err(error) => Some(Err(error)),
        }
    }

    fn answers_by_mid(&self, command: &Encode<'_>) -> bool {
        let Ok(text) = form::command(command) else {
            return false;
        };
        matches!(
            self.call(|live| live.answers_by_mid, (text,)),
            Ok(Some(true))
        )
    }

    fn encode_properties(&self, set: &EncodeProperties<'_>) -> Result<PropertySet, CodecError> {
        let text = form::set(set)?;
        match self.ask(|live| live.encode_properties, (text,))? {
            None => Err(CodecError::no_property_set(set)),
            Some((bytes, covered)) => form::property_set(set, bytes, covered),
        }
    }

    fn answer(&self, report: &AnswerTo<'_>) -> Result<Option<Vec<u8>>, CodecError> {
        let params = (report.request.to_vec(), report.errcode, report.has_more);
        let bytes = self.ask(|live| live.answer, params)?;
        bytes.map(form::bounded).transpose()
    }
}
