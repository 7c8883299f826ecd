//! One script in QuickJS: a runtime and a context of its own, with limits of memory, stack and time.
//!
//! Nothing of the machine is in it but what `prelude.js` gives. A call that hits a limit spoils the
//! engine: whoever holds it makes a new one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rquickjs::context::EvalOptions;
use rquickjs::function::Args;
use rquickjs::promise::PromiseState;
use rquickjs::{Context, Ctx, Function, Persistent, Promise, Runtime, Value as Js};

use super::Limits;
use super::fault::{FILE, Fault};
use super::mistake::Defined;
use super::value::Odd;
use crate::base::time::{Timestamp, thread_us};
use crate::product::codec::CodecError;

const PRELUDE: &str = include_str!("prelude.js");

/// Jobs that a call may leave behind: callbacks of promises that nobody waits for.
const JOBS_MAX: usize = 1000;

/// See the module.
pub(super) struct Engine {
    context: Context,
    watch: Arc<Watch>,
    limits: Limits,
    /// The functions that the script has, of those that were asked for.
    pub(super) functions: Vec<&'static str>,
}

/// What calls each of an engine's functions, see `shapes` in `prelude.js`, in the order of their names. The
/// runtime keeps it, which lets go of it in time.
type Calls<'js> = Vec<Function<'js>>;

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("functions", &self.functions)
            .finish_non_exhaustive()
    }
}

/// What a call of a function came to.
enum Begun<T> {
    Gave(Option<T>),
    Waits(Persistent<Promise<'static>>),
}

/// When the running call's time is over. It is the processor's time of the thread, so that a busy
/// machine is no fault of the script.
struct Watch {
    time_us: u64,
    /// When the call first asked, or [`NOT_YET`].
    began_us: AtomicU64,
    is_over: AtomicBool,
}

const NOT_YET: u64 = u64::MAX;

impl Watch {
    fn start(&self) {
        self.began_us.store(NOT_YET, Ordering::Relaxed);
        self.is_over.store(false, Ordering::Relaxed);
    }

    fn look(&self) -> bool {
        let now_us = thread_us();
        let began_us = match self.began_us.load(Ordering::Relaxed) {
            NOT_YET => {
                self.began_us.store(now_us, Ordering::Relaxed);
                now_us
            }
            began_us => began_us,
        };
        let over = now_us.saturating_sub(began_us) >= self.time_us;
        if over {
            self.is_over.store(true, Ordering::Relaxed);
        }
        over
    }
}

/// A call on a function of the script.
pub(super) struct Invocation<'a> {
    pub(super) function: &'a str,
    pub(super) given: Given<'a>,
    /// What the script's clock says.
    pub(super) at: Timestamp,
}

/// What a function gets.
pub(super) enum Given<'a> {
    /// One that decodes: bytes and their port, which the prelude puts where the function takes them. They
    /// come natively, for numbers in JSON take long.
    Message { bytes: &'a [u8], port: u8 },
    /// One that encodes: its arguments, a JSON list.
    List(&'a str),
}

impl Engine {
    /// Runs prelude and script, and looks for `functions`.
    pub(super) fn load(
        source: &str,
        functions: &[&'static str],
        limits: Limits,
    ) -> Result<Self, Fault> {
        let watch = Arc::new(Watch {
            time_us: u64::try_from(limits.time.as_micros()).unwrap_or(NOT_YET),
            began_us: AtomicU64::new(NOT_YET),
            is_over: AtomicBool::new(false),
        });
        let unmade = |error: rquickjs::Error| Fault {
            text: error.to_string(),
            place: None,
            limit: Some("memory"),
            ran: false,
        };
        let runtime = Runtime::new().map_err(unmade)?;
        runtime.set_memory_limit(limits.heap_bytes);
        runtime.set_max_stack_size(limits.stack_bytes);
        runtime.set_gc_threshold(limits.heap_bytes / 16);
        let look = Arc::clone(&watch);
        runtime.set_interrupt_handler(Some(Box::new(move || look.look())));
        let context = Context::full(&runtime).map_err(unmade)?;
        watch.start();
        let found = context.with(|ctx| {
            let found = run(&ctx, source, functions);
            found.map_err(|error| Fault::take(&ctx, &error, watch.look()))
        })?;
        Ok(Self {
            context,
            watch,
            limits,
            functions: found,
        })
    }

    /// What the script defines besides, as far as it can be seen. It runs nothing of the script's but
    /// what it put in the way of being looked at, within the time of its top level.
    pub(super) fn defined(&self) -> Vec<Defined> {
        let look = "__strait.defined()";
        let found = self.context.with(|ctx| {
            let found = ctx.eval_with_options::<Vec<Vec<String>>, _>(look, options("prelude.js"));
            if found.is_err() {
                drop(ctx.catch());
            }
            found.unwrap_or_default()
        });
        let pairs = found.into_iter().map(<[String; 2]>::try_from);
        pairs.flatten().map(|[name, kind]| (name, kind)).collect()
    }

    /// What the heap holds now.
    pub(super) fn heap_bytes(&self) -> u64 {
        let usage = self.context.runtime().memory_usage();
        u64::try_from(usage.malloc_size).unwrap_or_default()
    }

    /// Calls a function and reads what it gives. The second is true when the engine is spoiled.
    pub(super) fn call<T>(
        &self,
        invocation: &Invocation<'_>,
        read: impl for<'js> FnOnce(&Ctx<'js>, &Js<'js>) -> Result<T, Odd>,
    ) -> (Result<T, CodecError>, bool) {
        self.watch.start();
        let mut read = Some(read);
        let begun: Result<Begun<T>, CodecError> = self.context.with(|ctx| {
            let value = self.invoke(&ctx, invocation);
            let value = value.map_err(|odd| self.error_of(&ctx, odd))?;
            if let Some(promise) = value.as_promise() {
                return Ok(Begun::Waits(Persistent::save(&ctx, promise.clone())));
            }
            let done = read.take().map(|read| read(&ctx, &value));
            let done = done.transpose().map_err(|odd| self.error_of(&ctx, odd));
            done.map(Begun::Gave)
        });
        let result = match begun {
            Ok(Begun::Gave(done)) => Ok(done),
            Ok(Begun::Waits(promise)) => self.settle(promise, read),
            Err(error) => Err(error),
        };
        let mut result = result.and_then(|done| {
            done.ok_or_else(|| CodecError::Unavailable {
                reason: "its answer was read already".to_owned(),
            })
        });
        let mut left = 0;
        while left < JOBS_MAX && !self.is_over() {
            match self.run_job() {
                Ok(true) => left += 1,
                Ok(false) => break,
                Err(limit) => {
                    result = Err(limit);
                    break;
                }
            }
        }
        // Whatever came of it: reading a value, an exception or what was left behind runs the
        // script, too.
        if self.is_over() {
            self.context.with(|ctx| drop(ctx.catch()));
            result = Err(self.limit("time"));
        }
        let is_spoiled = left == JOBS_MAX || matches!(result, Err(CodecError::Limit { .. }));
        (result, is_spoiled)
    }

    fn is_over(&self) -> bool {
        self.watch.is_over.load(Ordering::Relaxed)
    }

    fn limit(&self, what: &'static str) -> CodecError {
        Fault::of_limit(what).into_error(self.limits.time.as_millis())
    }

    /// Of what ended a call. It takes a pending exception.
    fn error_of(&self, ctx: &Ctx<'_>, odd: Odd) -> CodecError {
        let time_ms = self.limits.time.as_millis();
        match odd {
            Odd::Codec(error) => error,
            Odd::Threw(error) => Fault::take(ctx, &error, self.is_over()).into_error(time_ms),
        }
    }

    /// Runs the job that waits first; `false`: none does. What a job throws is nobody's, unless it is a
    /// limit: the job may have been what a promise waits for.
    fn run_job(&self) -> Result<bool, CodecError> {
        // Not `Ctx::execute_pending_job`, which drops what was thrown.
        match self.context.runtime().execute_pending_job() {
            Ok(ran) => Ok(ran),
            Err(thrown) => thrown.0.with(|ctx| {
                let threw = Odd::Threw(rquickjs::Error::Exception);
                match self.error_of(&ctx, threw) {
                    limit @ CodecError::Limit { .. } => Err(limit),
                    _ => Ok(true),
                }
            }),
        }
    }

    fn invoke<'js>(&self, ctx: &Ctx<'js>, invocation: &Invocation<'_>) -> Result<Js<'js>, Odd> {
        let at = self
            .functions
            .iter()
            .position(|name| *name == invocation.function);
        let calls = ctx.userdata::<Calls<'js>>();
        let call = match (at, &calls) {
            (Some(at), Some(calls)) => calls.get(at),
            _ => None,
        };
        let Some(call) = call else {
            return Err(Odd::Codec(CodecError::Script {
                reason: format!("the script has no function {}", invocation.function),
            }));
        };
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds stay below 2^53 for ages"
        )]
        let at = invocation.at.as_ms() as f64;
        match invocation.given {
            Given::List(text) => Ok(call.call((at, ctx.json_parse(text)?))?),
            // Each byte is an argument: nothing makes a list of them as fast as a rest parameter.
            Given::Message { bytes, port } => {
                let mut args = Args::new(ctx.clone(), 2 + bytes.len());
                args.push_arg(at)?;
                args.push_arg(port)?;
                args.push_args(bytes.iter().copied())?;
                Ok(args.apply(call)?)
            }
        }
    }

    /// What an async function comes to. Nothing that it could wait for exists, so its jobs are all
    /// there is.
    fn settle<T>(
        &self,
        promise: Persistent<Promise<'static>>,
        read: Option<impl for<'js> FnOnce(&Ctx<'js>, &Js<'js>) -> Result<T, Odd>>,
    ) -> Result<Option<T>, CodecError> {
        let is_pending = |ctx: Ctx<'_>| match promise.clone().restore(&ctx) {
            Ok(promise) => promise.state() == PromiseState::Pending,
            Err(_) => false,
        };
        let mut ran = Ok(true);
        while self.context.with(is_pending) && matches!(ran, Ok(true)) {
            ran = match self.watch.look() {
                true => Err(self.limit("time")),
                false => self.run_job(),
            };
        }
        self.context.with(|ctx| {
            let settled = promise.restore(&ctx).map_err(Odd::from);
            ran?;
            let value = settled.and_then(|promise| match promise.result::<Js<'_>>() {
                Some(result) => Ok(result?),
                // A job that found no room for itself is not there.
                None if ctx.has_exception() => Err(Odd::Threw(rquickjs::Error::Exception)),
                None => Err(Odd::Codec(CodecError::Script {
                    reason: "it gave a promise that never settles".to_owned(),
                })),
            });
            let done = value.and_then(|value| read.map(|read| read(&ctx, &value)).transpose());
            done.map_err(|odd| self.error_of(&ctx, odd))
        })
    }
}

fn run(
    ctx: &Ctx<'_>,
    source: &str,
    functions: &[&'static str],
) -> rquickjs::Result<Vec<&'static str>> {
    ctx.eval_with_options::<(), _>(PRELUDE, options("prelude.js"))?;
    // As browsers and node's `vm` take a script: sloppy, so that old ones run.
    ctx.eval_with_options::<Js<'_>, _>(source, options(FILE))?;
    let mut found = Vec::new();
    let mut calls = Calls::new();
    for name in functions {
        // `const decode = …` is no property of the global object, but has its name in its scope.
        let look =
            format!("__strait.adopt('{name}', typeof {name} === 'undefined' ? undefined : {name})");
        let call = ctx.eval_with_options::<Option<Function<'_>>, _>(look, options("prelude.js"))?;
        if let Some(call) = call {
            found.push(*name);
            calls.push(call);
        }
    }
    let stored = ctx.store_userdata(calls);
    stored.map_err(|_| rquickjs::Error::Unknown)?;
    Ok(found)
}

fn options(file: &str) -> EvalOptions {
    let mut options = EvalOptions::default();
    options.strict = false;
    options.filename = Some(file.to_owned());
    options
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::product::codec::call::Options;
    use crate::product::codec::script::Script;
    use crate::product::codec::{Codec, Decoded, Uplink};

    /// Whatever a function's form, its bytes are a list of its own, whole and in their order.
    #[test]
    fn bytes_of_any_length_come_as_a_list() {
        let forms = [
            "function decodeUplink(i) { return { data: told(i.bytes) }; }",
            "function Decode(port, bytes) { return told(bytes); }",
            "function Decoder(bytes, port) { return told(bytes); }",
            "function decode(bytes, topic) {
            return { msg_type: 'properties_report',
                services: [{ service_id: 'data', properties: told(bytes) }] };
        }",
        ];
        let told = "function told(bytes) {
        const sum = bytes.reduce((sum, byte, at) => (sum + byte * (at % 7 + 1)) % 1000003, 0);
        const got = { list: Array.isArray(bytes), len: bytes.length, sum };
        bytes.push(1);
        return got;
    }";
        for form in forms {
            let source = format!("{told}\n{form}");
            let script = Script::load(&source, &Options::default(), Limits::default()).unwrap();
            for len in [0, 1, 7, 9, 65_536] {
                let payload: Vec<u8> = (0..=u8::MAX).rev().cycle().take(len).collect();
                let weighed = |sum: u64, (at, byte): (u64, &u8)| {
                    (sum + u64::from(*byte) * (at % 7 + 1)) % 1_000_003
                };
                let sum = (0..).zip(&payload).fold(0, weighed);
                let uplink = Uplink {
                    payload: &payload,
                    received_at: Timestamp::from_ms(0),
                    f_port: None,
                };
                let Decoded::Report(report) = script.decode(&uplink, None).unwrap() else {
                    unreachable!("a report");
                };
                assert_eq!(
                    Value::Object(report.services[0].properties.clone()),
                    json!({"list": true, "len": len, "sum": sum}),
                    "{form}"
                );
            }
        }
    }
}
