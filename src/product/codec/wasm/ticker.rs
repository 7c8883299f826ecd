//! The clock by which calls end: a thread that advances the engine's epoch every [`TICK`] while calls
//! are made, and sleeps while none are. Code that runs past its deadline traps at its next loop or
//! function.
//!
//! A call notes itself before it looks whether the thread sleeps; the thread says that it sleeps before
//! it looks whether calls were noted. So none of them misses the other.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::{Engine, EngineWeak};

use crate::base::limits::{STACK_OF_WAITING, WASM_CALL_TIME_MS};

const TICK: Duration = Duration::from_millis(5);
const TICK_MS: u64 = 5;
/// Ticks after which a call ends. The first may come at once.
pub(super) const TICKS: u64 = WASM_CALL_TIME_MS / TICK_MS + 1;
/// Ticks without a new call after which the thread sleeps: far more than any call has.
const IDLE: u64 = 20 * TICKS;

#[derive(Debug, Default)]
struct Shared {
    calls: AtomicU64,
    sleeps: AtomicBool,
}

/// Ends its thread when it is dropped.
#[derive(Debug)]
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

impl Ticker {
    pub(super) fn start(engine: &Engine) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (engine, of_thread) = (engine.weak(), Arc::clone(&shared));
        let both = Arc::new(Barrier::new(2));
        let begun = Arc::clone(&both);
        let handle = thread::Builder::new()
            .name("wasm-ticker".to_owned())
            .stack_size(STACK_OF_WAITING)
            .spawn(move || {
                begun.wait();
                run(&engine, &of_thread);
            })?;
        // A thread that begins asks the kernel for more than one that runs, which may be denied soon.
        both.wait();
        Ok(Self {
            shared,
            thread: handle.thread().clone(),
        })
    }

    /// A call begins: the epoch must advance.
    pub(super) fn note_call(&self) {
        self.shared.calls.fetch_add(1, Ordering::SeqCst);
        if self.shared.sleeps.load(Ordering::SeqCst) {
            self.shared.sleeps.store(false, Ordering::SeqCst);
            self.thread.unpark();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.thread.unpark();
    }
}

fn run(engine: &EngineWeak, shared: &Shared) {
    let (mut seen, mut idle) = (0, 0);
    while let Some(engine) = engine.upgrade() {
        engine.increment_epoch();
        drop(engine);
        let calls = shared.calls.load(Ordering::SeqCst);
        idle = if calls == seen { idle + 1 } else { 0 };
        seen = calls;
        if idle < IDLE {
            // Not `sleep`: a worker is denied that call, but not this one. Waking early costs a call
            // nothing but a part of its time, and only a call wakes it.
            thread::park_timeout(TICK);
            continue;
        }
        shared.sleeps.store(true, Ordering::SeqCst);
        if shared.calls.load(Ordering::SeqCst) == seen {
            thread::park();
        }
        shared.sleeps.store(false, Ordering::SeqCst);
        idle = 0;
    }
}
