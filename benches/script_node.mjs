// The scripts of the bench in node's `vm`. For each line `SCRIPT HEX CALLS` on the input it writes a line
// with the microseconds that a call takes, in three ways: a function of the context called, and a compiled
// script run in the context that calls it, without and with a limit of time.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import vm from 'node:vm';

const LIMIT_MS = 50;
// A limit takes a thread per call: so many calls are enough.
const LIMITED_CALLS = 200;
const loaded = new Map();

function load(path) {
  let codec = loaded.get(path);
  if (codec === undefined) {
    const context = vm.createContext({});
    vm.runInContext(readFileSync(path, 'utf8'), context);
    const isTs013 = vm.runInContext("typeof decodeUplink === 'function'", context);
    const call = vm.runInContext(
      isTs013
        ? 'bytes => decodeUplink({ bytes, fPort: 1, recvTime: new Date(0) })'
        : "bytes => decode(bytes, '')",
      context,
    );
    context.call = call;
    const run = new vm.Script('call(bytes)');
    codec = { context, call, run };
    loaded.set(path, codec);
  }
  return codec;
}

// What comes back is text of JSON, as it has to leave the engine.
const text = (value) => (typeof value === 'string' ? value : JSON.stringify(value));

function measured(calls, payload, once) {
  let length = 0;
  const begin = process.hrtime.bigint();
  for (let n = 0; n < calls; n += 1) length += text(once(Array.from(payload))).length;
  const passed = Number(process.hrtime.bigint() - begin);
  if (length === 0) throw new Error('nothing was decoded');
  return passed / 1000 / calls;
}

for await (const line of createInterface({ input: process.stdin })) {
  const [path, hex, calls] = line.split(' ');
  const payload = Buffer.from(hex, 'hex');
  const { context, call, run } = load(path);
  const inContext = (options) => (bytes) => {
    context.bytes = bytes;
    return run.runInContext(context, options);
  };
  const figures = [
    measured(Number(calls), payload, call),
    measured(Number(calls), payload, inContext({})),
    measured(Math.min(Number(calls), LIMITED_CALLS), payload, inContext({ timeout: LIMIT_MS })),
  ];
  process.stdout.write(`${figures.join(' ')}\n`);
}
