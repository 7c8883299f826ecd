//! Compiles components and checks what they import and export.
//!
//! Instances come from a pool that is reserved at the start: [`WASM_INSTANCES_MAX`] of them with
//! [`WASM_MEMORY_MAX`] bytes each. Nothing is read from or written to disk: machine code of unknown
//! origin can't be loaded safely.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
};

use super::RuntimeError;
use super::compiled::Compiled;
use super::instance::{Held, Wasm};
use super::ticker::Ticker;
use crate::base::limits::{CODEC_WASM_MAX, WASM_INSTANCES_MAX, WASM_MEMORY_MAX, WASM_STACK_MAX};
use crate::product::codec::LoadError;

/// What all binaries of WebAssembly begin with.
const MAGIC: &[u8] = b"\0asm";
/// Version and layer of a component, and of a core module.
const COMPONENT: &[u8] = &[0x0d, 0, 1, 0];
const CORE: &[u8] = &[1, 0, 0, 0];
/// Modules, tables inside one component: what its tools make of a codec has one or two.
const PARTS: u32 = 4;
const TABLE_ELEMENTS: usize = 10_000;
/// Imports that are listed; a component built for WASI has dozens.
const IMPORTS_SHOWN: usize = 3;

/// Compiles and runs codecs; one for a process. Calls of different codecs run side by side.
pub struct Runtime {
    engine: Engine,
    linker: Linker<Held>,
    compiled: Mutex<Compiled>,
    ticker: Arc<Ticker>,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").finish_non_exhaustive()
    }
}

impl Runtime {
    /// Reserves the pool and starts a thread. Errors: the address space or the thread was refused.
    pub fn new() -> Result<Self, RuntimeError> {
        let engine = Engine::new(&config()).map_err(|error| RuntimeError::Engine {
            reason: format!("{error:#}"),
        })?;
        Ok(Self {
            linker: Linker::new(&engine),
            compiled: Mutex::new(Compiled::default()),
            ticker: Arc::new(Ticker::start(&engine)?),
            engine,
        })
    }

    /// Compiles a component, unless it is known, begins an instance of it and asks for its version.
    /// Errors: no component; each import; each export that is missing or has other types; what its
    /// start ran into.
    pub fn load(&self, source: &[u8]) -> Result<Wasm, Vec<LoadError>> {
        let hash = Compiled::hash(source);
        let known = self.compiled().find(&hash);
        let ready = match known {
            Some(ready) => ready,
            None => {
                let ready = self.compile(source)?;
                self.compiled().keep(hash, source.len(), ready.clone());
                ready
            }
        };
        Wasm::begin(ready, Arc::clone(&self.ticker))
    }

    #[cfg(test)]
    pub(super) fn known(&self, source: &[u8]) -> Option<InstancePre<Held>> {
        self.compiled().find(&Compiled::hash(source))
    }

    fn compiled(&self) -> MutexGuard<'_, Compiled> {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn compile(&self, source: &[u8]) -> Result<InstancePre<Held>, Vec<LoadError>> {
        check_head(source).map_err(|mistake| vec![mistake])?;
        let component = Component::new(&self.engine, source).map_err(|error| {
            let message = format!("not a component that can run: {error:#}");
            vec![mistake(message, None)]
        })?;
        let imports = imports(&component, &self.engine);
        if !imports.is_empty() {
            return Err(imports);
        }
        self.linker
            .instantiate_pre(&component)
            .map_err(|error| vec![mistake(format!("{error:#}"), None)])
    }
}

fn config() -> Config {
    let memory = WASM_MEMORY_MAX;
    let instances = WASM_INSTANCES_MAX;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances * PARTS)
        .total_memories(instances)
        .total_tables(instances * PARTS)
        .max_core_instances_per_component(PARTS)
        .max_memories_per_component(1)
        .max_tables_per_component(PARTS)
        .table_elements(TABLE_ELEMENTS)
        .max_memory_size(memory)
        .pagemap_scan(Enabled::No);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        // Each access is checked: 4 GiB of address space for each instance are more than a worker has.
        .memory_reservation(u64::try_from(memory).unwrap_or(u64::MAX))
        .memory_guard_size(64 * 1024)
        // Copies initial memory instead of mapping a file of it: workers open none.
        .memory_init_cow(false)
        .max_wasm_stack(WASM_STACK_MAX)
        .epoch_interruption(true)
        .concurrency_support(false)
        .cranelift_opt_level(OptLevel::Speed)
        // The same input gives the same output, on any processor.
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false);
    config
}

/// A mistake in the binary as a whole.
pub(super) fn mistake(message: impl Into<String>, hint: Option<&str>) -> LoadError {
    LoadError {
        line: 1,
        column: 1,
        message: message.into(),
        hint: hint.map(str::to_owned),
    }
}

/// Size and first bytes.
fn check_head(source: &[u8]) -> Result<(), LoadError> {
    if source.len() > CODEC_WASM_MAX {
        let message = format!("has {} bytes, takes up to {CODEC_WASM_MAX}", source.len());
        let hint = "build it for release, with `strip = true` and `opt-level = \"s\"`";
        return Err(mistake(message, Some(hint)));
    }
    let Some(version) = source.strip_prefix(MAGIC) else {
        let hint = "codec.wasm is a component as binary, not as text";
        return Err(mistake("not WebAssembly: it begins otherwise", Some(hint)));
    };
    if version.starts_with(COMPONENT) {
        return Ok(());
    }
    if version.starts_with(CORE) {
        let hint = "make it one: wasm-tools component new core.wasm -o codec.wasm";
        return Err(mistake("a core module, not a component", Some(hint)));
    }
    Err(mistake("WebAssembly of a version that is not known", None))
}

/// One mistake for each of the first imports.
fn imports(component: &Component, engine: &Engine) -> Vec<LoadError> {
    let types = component.component_type();
    let count = types.imports(engine).len();
    let names = types
        .imports(engine)
        // A type alone brings no code.
        .filter(|(_, import)| !matches!(import.ty, ComponentItem::Type(_)));
    let mut mistakes: Vec<LoadError> = names
        .take(IMPORTS_SHOWN)
        .map(|(name, _)| {
            let hint = if name.starts_with("wasi:") {
                "build it for a target without WASI, such as wasm32-unknown-unknown"
            } else {
                "a codec has nothing but its own code and the call's values"
            };
            mistake(format!("imports {name}, takes no imports"), Some(hint))
        })
        .collect();
    if let (true, Some(last)) = (count > IMPORTS_SHOWN, mistakes.last_mut()) {
        let more = count - IMPORTS_SHOWN;
        last.message = format!("{}; so do {more} more", last.message);
    }
    mistakes
}
