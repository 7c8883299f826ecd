//! Every bound of the system, each with its reason. What an operator may change is a setting
//! whose default stands here.

/// Longest datagram taken from a device: an Ethernet MTU holds 1472 bytes; NB-IoT carries less.
pub const DATAGRAM_MAX: usize = 1536;

/// Largest reassembled block1 body: a link list of a hundred objects needs under 4 KB, a history
/// upload under 64 KB.
pub const BODY_MAX: usize = 64 * 1024;

/// Rows are at most this long; longer values are split. sled writes entries beyond about 128 KB
/// to files that it never syncs.
pub const ROW_MAX: usize = 8 * 1024;

/// Uplinks in one durable batch: more would raise the wait of the first beyond its gain.
pub const BATCH_MAX: usize = 256;

/// HTTP bodies, packages apart.
pub const HTTP_BODY_MAX: usize = 1024 * 1024;

/// Parameters of one command, as JSON: what the v5 API takes. A device gets far less.
pub const COMMAND_PARAS_MAX: usize = 32 * 1024;

/// The body that creates a batch task: 30,000 device ids of the longest kind.
pub const BATCH_TASK_BODY_MAX: usize = 5 * 1024 * 1024;

/// Source of a codec bundle.
pub const CODEC_SOURCE_MAX: usize = 256 * 1024;

/// A codec in WebAssembly: what compilers make of a format and a JSON library is a tenth of it.
pub const CODEC_WASM_MAX: usize = 4 * 1024 * 1024;

/// Memory of a codec in WebAssembly, its stack and constants included.
pub const WASM_MEMORY_MAX: usize = 4 * 1024 * 1024;

/// Native stack of one call of a codec in WebAssembly.
pub const WASM_STACK_MAX: usize = 256 * 1024;

/// One call of a codec in WebAssembly, in milliseconds.
pub const WASM_CALL_TIME_MS: u64 = 50;

/// Codecs in WebAssembly that are loaded in one process: the 64 that it keeps, and some that still end a
/// call when they were given up. Address space for all is reserved at once: this many times
/// [`WASM_MEMORY_MAX`].
pub const WASM_INSTANCES_MAX: u32 = 80;

/// Decoded output of one uplink, as JSON.
pub const CODEC_OUTPUT_MAX: usize = 64 * 1024;

/// Lists and objects inside each other in what devices send and get as JSON: no product model
/// needs more, and code that walks them must not run out of stack.
pub const CODEC_DEPTH_MAX: usize = 32;

/// Stack of a thread that does little but wait. What the allocator does when a thread first asks it for
/// memory takes 50 KB of it in a debug build.
pub const STACK_OF_WAITING: usize = 256 * 1024;
