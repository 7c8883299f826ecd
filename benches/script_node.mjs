// The scripts of the bench in node's `vm`. For each line `SCRIPT CALLS PORT:HEX,PORT:HEX…` on the input it writes
// a line with the microseconds that a call takes, over the messages in turns, in three ways: a function of the
// context called, and a compiled script run in the context that calls it, without and with a limit of time.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import vm from 'node:vm';

// By the clock, which goes on while other programs work: what the limit costs does not depend on it.
const LIMIT_MS = 1000;
// A limit takes a thread per call: so many calls are enough.
const LIMITED_CALLS = 200;
const loaded = new Map();
const silent = { log() {}, info() {}, warn() {}, error() {}, debug() {} };

// What decodes, and how it is called.
const SHAPES = {
  decodeUplink: '(bytes, fPort) => found({ bytes, fPort, recvTime: new Date(0) })',
  Decode: '(bytes, fPort) => found(fPort, bytes, {})',
  Decoder: '(bytes, fPort) => found(bytes, fPort)',
  decode: "(bytes) => found(bytes, '')",
};

function load(path) {
  let codec = loaded.get(path);
  if (codec === undefined) {
    const module = { exports: {} };
    const require = createRequire(import.meta.url);
    const context = vm.createContext({
      Buffer, atob, btoa, TextEncoder, TextDecoder, console: silent, module, exports: module.exports, require,
    });
    vm.runInContext(readFileSync(path, 'utf8'), context);
    for (const [name, shape] of Object.entries(SHAPES)) {
      const found = vm.runInContext(`typeof ${name} === 'function' ? ${name} : module.exports.${name}`, context);
      if (typeof found !== 'function') continue;
      context.found = found;
      context.call = vm.runInContext(`(found => ${shape})(found)`, context);
      break;
    }
    const { call } = context;
    if (call === undefined) throw new Error(`${path} has no function that decodes`);
    const run = new vm.Script('call(bytes, port)');
    codec = { context, call, run };
    loaded.set(path, codec);
  }
  return codec;
}

// What comes back is text of JSON, as it has to leave the engine.
const text = (value) => (typeof value === 'string' ? value : JSON.stringify(value));

function measured(calls, messages, once) {
  let length = 0;
  const begin = process.hrtime.bigint();
  for (let n = 0; n < calls; n += 1) {
    const { payload, port } = messages[n % messages.length];
    length += text(once(Array.from(payload), port))?.length ?? 0;
  }
  const passed = Number(process.hrtime.bigint() - begin);
  if (length === 0) throw new Error('nothing was decoded');
  return passed / 1000 / calls;
}

for await (const line of createInterface({ input: process.stdin })) {
  const [path, calls, list] = line.split(' ');
  const messages = list.split(',').map((message) => {
    const [port, hex] = message.split(':');
    return { payload: Buffer.from(hex, 'hex'), port: Number(port) };
  });
  const { context, call, run } = load(path);
  const inContext = (options) => (bytes, port) => {
    context.bytes = bytes;
    context.port = port;
    return run.runInContext(context, options);
  };
  const figures = [
    measured(Number(calls), messages, call),
    measured(Number(calls), messages, inContext({})),
    measured(Math.min(Number(calls), LIMITED_CALLS), messages, inContext({ timeout: LIMIT_MS })),
  ];
  process.stdout.write(`${figures.join(' ')}\n`);
}
