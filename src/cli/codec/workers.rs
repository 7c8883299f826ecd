//! Codecs with code of their own, run as in production: in worker processes, which end what passes
//! its limits. [`Workers::load`] gives a codec that is called like any other; each call waits for its
//! worker. Nothing is started before the first such codec.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::app::codec_pool::{CodecPool, Parts, Settings};
use crate::app::tasks::Tasks;
use crate::base::time::Clock;
use crate::product::codec::call::{Call, Outside, Reply};
use crate::product::codec::{
    AnswerTo, Codec, CodecError, Decoded, Downlink, Encode, EncodeProperties, LoadError,
    PropertySet, TraceEntry, Uplink,
};

/// Far beyond what a worker may take, its start and its replacement included.
const PATIENCE: Duration = Duration::from_secs(60);

/// Worker processes that start when they are needed.
#[derive(Default)]
pub(super) struct Workers {
    running: Arc<OnceLock<Result<Running, String>>>,
}

struct Running {
    runtime: Runtime,
    pool: CodecPool,
    spent: Mutex<Spent>,
}

/// What calls took in their worker.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spent {
    pub(super) time: Duration,
    /// The most that the codec held.
    pub(super) heap_bytes: u64,
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let started = self.running.get().is_some();
        f.debug_struct("Workers")
            .field("started", &started)
            .finish()
    }
}

impl Workers {
    /// Loads a codec in a worker. Errors: every mistake that loading finds, a limit that the script's
    /// top level hits among them.
    pub(super) fn load(&self, codec: &Outside) -> Result<Arc<dyn Codec>, Vec<LoadError>> {
        let lone = |message: String| {
            vec![LoadError {
                line: 1,
                column: 1,
                message,
                hint: None,
            }]
        };
        let running = self.running().map_err(|e| lone(e.to_string()))?;
        let checked = running
            .runtime
            .block_on(async { tokio::time::timeout(PATIENCE, running.pool.check(codec)).await });
        checked.unwrap_or_else(|_| Err(lone(slow().to_string())))?;
        Ok(Arc::new(Remote {
            codec: codec.clone(),
            workers: Self {
                running: Arc::clone(&self.running),
            },
        }))
    }

    fn running(&self) -> Result<&Running, CodecError> {
        let running = self.running.get_or_init(|| {
            let runtime = Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|e| format!("no runtime for workers: {e}"))?;
            let pool = runtime.block_on(async { start_pool() });
            let spent = Mutex::default();
            Ok(Running {
                runtime,
                pool,
                spent,
            })
        });
        let failed = |reason: &String| CodecError::Unavailable {
            reason: reason.clone(),
        };
        running.as_ref().map_err(failed)
    }

    fn call(&self, codec: &Outside, call: Call) -> Result<Reply, CodecError> {
        let running = self.running()?;
        let ran = running.runtime.block_on(async {
            tokio::time::timeout(PATIENCE, running.pool.run(codec, call)).await
        });
        let Ok(ran) = ran else { return Err(slow()) };
        let mut spent = running.spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.time += Duration::from_micros(ran.micros);
        spent.heap_bytes = spent.heap_bytes.max(ran.heap_bytes);
        ran.result
    }

    /// What the calls since the last question took; `None` when there was none.
    pub(super) fn take_spent(&self) -> Option<Spent> {
        let running = self.running.get()?.as_ref().ok()?;
        let mut spent = running.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = std::mem::take(&mut *spent);
        (!taken.time.is_zero()).then_some(taken)
    }
}

fn start_pool() -> CodecPool {
    CodecPool::new(Parts {
        settings: Settings {
            workers: 1,
            strikes: u32::MAX,
            ..Settings::default()
        },
        clock: Clock::System,
        tasks: Tasks::new(),
        program: None,
    })
}

fn slow() -> CodecError {
    CodecError::Unavailable {
        reason: format!("no worker answered within {} s", PATIENCE.as_secs()),
    }
}

/// A codec in a worker, called in place.
#[derive(Debug)]
struct Remote {
    codec: Outside,
    workers: Workers,
}

impl Remote {
    fn call(&self, call: Call) -> Result<Reply, CodecError> {
        self.workers.call(&self.codec, call)
    }
}

/// A worker that answers something else than what was asked.
fn stray<T>() -> Result<T, CodecError> {
    Err(CodecError::Unavailable {
        reason: "the worker answered another question".to_owned(),
    })
}

impl Codec for Remote {
    fn decode(
        &self,
        uplink: &Uplink<'_>,
        trace: Option<&mut Vec<TraceEntry>>,
    ) -> Result<Decoded, CodecError> {
        match self.call(Call::decode(uplink, trace.is_some()))? {
            Reply::Decoded { decoded, trace: of } => {
                if let Some(trace) = trace {
                    trace.extend(of);
                }
                Ok(decoded)
            }
            _ => stray(),
        }
    }

    fn encode(&self, command: &Encode<'_>) -> Result<Vec<u8>, CodecError> {
        match self.call(Call::encode(command))? {
            Reply::Encoded { bytes, .. } => Ok(bytes),
            _ => stray(),
        }
    }

    fn decode_downlink(&self, bytes: &[u8]) -> Option<Result<Downlink, CodecError>> {
        let bytes = bytes.to_vec();
        match self.call(Call::DecodeDownlink { bytes }) {
            Ok(Reply::Downlink(back)) => back,
            Ok(_) => Some(stray()),
            Err(error) => Some(Err(error)),
        }
    }

    fn answers_by_mid(&self, command: &Encode<'_>) -> bool {
        let reply = self.call(Call::encode(command));
        matches!(reply, Ok(Reply::Encoded { by_mid: true, .. }))
    }

    fn encode_properties(&self, set: &EncodeProperties<'_>) -> Result<PropertySet, CodecError> {
        match self.call(Call::encode_properties(set))? {
            Reply::Set(set) => Ok(set),
            _ => stray(),
        }
    }

    fn answer(&self, report: &AnswerTo<'_>) -> Result<Option<Vec<u8>>, CodecError> {
        match self.call(Call::answer(report))? {
            Reply::Answer(bytes) => Ok(bytes.map(serde_bytes::ByteBuf::into_vec)),
            _ => stray(),
        }
    }
}
