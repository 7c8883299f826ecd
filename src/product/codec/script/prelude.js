// What a script finds besides the language, and how the server calls it. Everything that is used here after
// the script has run is taken aside first: a script may change what it likes of its own world.
(() => {
  'use strict';
  const apply = Reflect.apply;
  const RealDate = Date;
  const parseDate = Date.parse;
  const utc = Date.UTC;
  const define = Object.defineProperty;
  const freeze = Object.freeze;
  const floor = Math.floor;
  const imul = Math.imul;
  let now = 0;
  let seed = 1;

  // Time: the clock of the call, and no zone but UTC, whatever the machine says.
  const hasZone = /(?:Z|GMT|UTC|[+-]\d\d:?\d\d)\s*(?:\([^)]*\))?$/i;
  const dateOnly = /^[+-]?\d{4,6}(?:-\d\d){0,2}$/;
  const exec = RegExp.prototype.test;
  const asUtc = (text) =>
    apply(exec, hasZone, [text]) || apply(exec, dateOnly, [text])
      ? parseDate(text)
      : parseDate(apply(exec, /^\d{4}-\d\d-\d\dT/, [text]) ? text + 'Z' : text + ' UTC');
  // A function rather than a class that extends the engine's own: that would lead to the machine's clock.
  const construct = Reflect.construct;
  const toUtcText = RealDate.prototype.toUTCString;
  const toIsoText = RealDate.prototype.toISOString;
  const slice = String.prototype.slice;
  const utcText = (date) => apply(toUtcText, date, []);
  const isoText = (date) => apply(toIsoText, date, []);
  const toText = String;
  const getTime = RealDate.prototype.getTime;
  const toPrimitiveOf = Symbol.toPrimitive;
  const isObject = (value) => (typeof value === 'object' && value !== null) || typeof value === 'function';
  // As the language takes an object for a time (ECMA-262 §21.4.2.1), but for a text's zone.
  const primitive = (object) => {
    const exotic = object[toPrimitiveOf];
    if (exotic !== undefined && exotic !== null) {
      const got = apply(exotic, object, ['default']);
      if (!isObject(got)) return got;
    } else {
      for (const name of ['valueOf', 'toString']) {
        const got = typeof object[name] === 'function' ? object[name]() : object;
        if (!isObject(got)) return got;
      }
    }
    throw new TypeError('an object that is no time');
  };
  const timeOf = (given) => {
    if (!isObject(given)) return typeof given === 'string' ? asUtc(given) : given;
    // Of a date in any guise its time, which is exact.
    try {
      return apply(getTime, given, []);
    } catch {
      const got = primitive(given);
      return typeof got === 'string' ? asUtc(got) : got;
    }
  };
  const SystemDate = function Date(...given) {
    if (new.target === undefined) return utcText(construct(RealDate, [now]));
    let at = now;
    if (given.length === 1) at = timeOf(given[0]);
    else if (given.length > 1) at = apply(utc, undefined, given);
    return construct(RealDate, [at], new.target);
  };
  const put = (target, name, value) => define(target, name, { value, writable: true, configurable: true });
  define(SystemDate, 'prototype', { value: RealDate.prototype, writable: false });
  define(SystemDate, 'length', { value: 7, configurable: true });
  put(SystemDate, 'now', () => now);
  put(SystemDate, 'parse', (text) => asUtc(toText(text)));
  put(SystemDate, 'UTC', utc);
  const getYear = RealDate.prototype.getUTCFullYear;
  const setYear = RealDate.prototype.setUTCFullYear;
  const trunc = Math.trunc;
  const methods = {
    constructor: SystemDate,
    getTimezoneOffset() { return 0; },
    toString() { return utcText(this); },
    toLocaleString() { return isoText(this); },
    toLocaleDateString() { return apply(slice, isoText(this), [0, 10]); },
    toLocaleTimeString() { return apply(slice, isoText(this), [11, 19]); },
    toDateString() { return apply(slice, utcText(this), [0, 16]); },
    toTimeString() { return apply(slice, utcText(this), [17]); },
    getYear() { return apply(getYear, this, []) - 1900; },
    setYear(year) {
      const whole = trunc(year);
      return apply(setYear, this, [whole >= 0 && whole <= 99 ? 1900 + whole : whole]);
    },
  };
  for (const name of Object.keys(methods)) put(RealDate.prototype, name, methods[name]);
  for (const part of ['FullYear', 'Month', 'Date', 'Day', 'Hours', 'Minutes', 'Seconds', 'Milliseconds']) {
    for (const verb of ['get', 'set']) {
      const method = RealDate.prototype[verb + 'UTC' + part];
      if (method === undefined) continue;
      put(RealDate.prototype, verb + part, function (...given) { return apply(method, this, given); });
    }
  }
  put(globalThis, 'Date', SystemDate);
  delete globalThis.performance;

  // Chance: the same numbers in each call.
  Math.random = () => {
    seed = imul(seed ^ (seed >>> 15), 0x2c1b3c6d);
    seed = imul(seed ^ (seed >>> 12), 0x297a2d39);
    seed ^= seed >>> 15;
    return (seed >>> 0) / 4294967296;
  };

  const nothing = () => undefined;
  const console = {};
  for (const name of ['log', 'info', 'warn', 'error', 'debug', 'trace', 'table', 'dir', 'assert', 'time',
    'timeEnd', 'group', 'groupEnd']) console[name] = nothing;

  // Base64 (RFC 4648 §4).
  const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
  const toBase64 = (bytes) => {
    let text = '';
    for (let at = 0; at < bytes.length; at += 3) {
      const left = bytes.length - at;
      const word = (bytes[at] << 16) | ((left > 1 ? bytes[at + 1] : 0) << 8) | (left > 2 ? bytes[at + 2] : 0);
      text += LETTERS[word >> 18] + LETTERS[(word >> 12) & 63];
      text += left > 1 ? LETTERS[(word >> 6) & 63] : '=';
      text += left > 2 ? LETTERS[word & 63] : '=';
    }
    return text;
  };
  // By code rather than by letter: a letter would be a string of its own each time.
  const VALUES = new Array(128).fill(undefined);
  for (let at = 0; at < 64; at += 1) VALUES[LETTERS.charCodeAt(at)] = at;
  VALUES['-'.charCodeAt(0)] = 62;
  VALUES['_'.charCodeAt(0)] = 63;
  const fromBase64 = (text) => {
    const bytes = [];
    let word = 0;
    let bits = 0;
    for (let at = 0; at < text.length; at += 1) {
      const code = text.charCodeAt(at);
      const value = code < 128 ? VALUES[code] : undefined;
      if (value === undefined) continue;
      word = ((word << 6) | value) & 0xffffff;
      bits += 6;
      if (bits >= 8) {
        bits -= 8;
        bytes[bytes.length] = (word >> bits) & 0xff;
      }
    }
    return bytes;
  };
  const fromLatin = (text) => {
    const bytes = [];
    for (let at = 0; at < text.length; at += 1) bytes[at] = text.charCodeAt(at) & 0xff;
    return bytes;
  };
  const fromCodes = String.fromCharCode;
  const PIECE = 4096;
  const toLatin = (bytes) => {
    if (bytes.length <= PIECE) return apply(fromCodes, undefined, bytes);
    let text = '';
    for (let at = 0; at < bytes.length; at += PIECE) text += apply(fromCodes, undefined, bytes.slice(at, at + PIECE));
    return text;
  };
  const btoa = (text) => {
    text = String(text);
    for (let at = 0; at < text.length; at += 1) {
      if (text.charCodeAt(at) > 255) throw new RangeError('btoa: a character is beyond Latin-1');
    }
    return toBase64(fromLatin(text));
  };
  const atob = (text) => {
    text = String(text).replace(/[\t\n\f\r ]/g, '');
    if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 === 1) throw new SyntaxError('atob: no Base64');
    return toLatin(fromBase64(text));
  };

  // UTF-8 (RFC 3629).
  const beyondAscii = /[^\x00-\x7f]/;
  const toUtf8 = (text) => {
    if (!apply(exec, beyondAscii, [text])) return fromLatin(text);
    const bytes = [];
    for (const letter of text) {
      let code = letter.codePointAt(0);
      if (code >= 0xd800 && code <= 0xdfff) code = 0xfffd;
      if (code < 0x80) bytes.push(code);
      else if (code < 0x800) bytes.push(0xc0 | (code >> 6), 0x80 | (code & 63));
      else if (code < 0x10000) bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
      else {
        bytes.push(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 63), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
      }
    }
    return bytes;
  };
  const fromUtf8 = (bytes) => {
    const latin = toLatin(bytes);
    if (!apply(exec, beyondAscii, [latin])) return latin;
    let text = '';
    for (let at = 0; at < bytes.length;) {
      const first = bytes[at];
      const more = first < 0x80 ? 0 : first >= 0xc2 && first < 0xe0 ? 1 : first >= 0xe0 && first < 0xf0 ? 2
        : first >= 0xf0 && first < 0xf5 ? 3 : -1;
      let code = more < 1 ? first : first & (0x3f >> more);
      let good = more >= 0 && at + more < bytes.length;
      for (let next = 1; good && next <= more; next += 1) {
        good = (bytes[at + next] & 0xc0) === 0x80;
        code = (code << 6) | (bytes[at + next] & 63);
      }
      const shortest = [0, 0x80, 0x800, 0x10000];
      good = good && code >= shortest[more] && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff);
      text += good ? String.fromCodePoint(code) : '\ufffd';
      at += good ? more + 1 : 1;
    }
    return text;
  };
  class TextEncoder {
    get encoding() { return 'utf-8'; }
    encode(text = '') { return new Uint8Array(toUtf8(String(text))); }
  }
  class TextDecoder {
    constructor(name = 'utf-8') { this.encoding = String(name).toLowerCase(); }
    decode(data) {
      if (data === undefined) return '';
      const bytes = data instanceof ArrayBuffer ? new Uint8Array(data)
        : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      return /^utf-?8$/.test(this.encoding) ? fromUtf8(bytes) : toLatin(bytes);
    }
  }

  // As much of Node's Buffer as codecs use.
  const encoded = (text, name) => {
    switch (String(name === undefined ? 'utf8' : name).toLowerCase()) {
      case 'hex': {
        const bytes = [];
        for (let at = 0; at + 1 < text.length; at += 2) {
          const pair = text.slice(at, at + 2);
          if (!/^[0-9a-f]{2}$/i.test(pair)) break;
          bytes.push(parseInt(pair, 16));
        }
        return bytes;
      }
      case 'base64': case 'base64url': return fromBase64(text);
      case 'ascii': case 'latin1': case 'binary': return fromLatin(text);
      case 'utf8': case 'utf-8': return toUtf8(text);
      default: throw new TypeError('Unknown encoding: ' + name);
    }
  };
  class Buffer extends Uint8Array {
    static from(data, second, third) {
      if (typeof data === 'string') return bytesOf(encoded(data, second));
      if (data instanceof ArrayBuffer) return new Buffer(data, second, third);
      if (data && data.type === 'Buffer' && Array.isArray(data.data)) return bytesOf(data.data);
      return bytesOf(data);
    }
    static alloc(size, fill) {
      const made = new Buffer(size);
      return fill === undefined ? made : made.fill(fill);
    }
    static allocUnsafe(size) { return new Buffer(size); }
    static isBuffer(data) { return data instanceof Buffer; }
    static byteLength(text, name) { return typeof text === 'string' ? encoded(text, name).length : text.byteLength; }
    static concat(list, total) {
      const length = total === undefined ? list.reduce((sum, one) => sum + one.length, 0) : total;
      const made = new Buffer(length);
      let at = 0;
      for (const one of list) {
        const part = one.subarray(0, Math.max(0, length - at));
        made.set(part, at);
        at += part.length;
      }
      return made;
    }
    static compare(one, other) { return one.compare(other); }
    toString(name = 'utf8', from = 0, to = this.length) {
      const part = this.subarray(from, to);
      switch (String(name).toLowerCase()) {
        case 'hex': {
          let text = '';
          for (const byte of part) text += (byte < 16 ? '0' : '') + byte.toString(16);
          return text;
        }
        case 'base64': return toBase64(part);
        case 'base64url': return toBase64(part).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
        case 'ascii': return toLatin(part.map((byte) => byte & 0x7f));
        case 'latin1': case 'binary': return toLatin(part);
        case 'utf8': case 'utf-8': return fromUtf8(part);
        default: throw new TypeError('Unknown encoding: ' + name);
      }
    }
    toJSON() { return { type: 'Buffer', data: Array.from(this) }; }
    slice(from, to) { return this.subarray(from, to); }
    equals(other) { return this.compare(other) === 0; }
    compare(other) {
      const least = Math.min(this.length, other.length);
      for (let at = 0; at < least; at += 1) {
        if (this[at] !== other[at]) return this[at] < other[at] ? -1 : 1;
      }
      return Math.sign(this.length - other.length);
    }
    copy(target, to = 0, from = 0, end = this.length) {
      const part = this.subarray(from, Math.min(end, from + target.length - to));
      target.set(part, to);
      return part.length;
    }
    fill(value, from, to) {
      return super.fill(typeof value === 'string' ? value.charCodeAt(0) : value, from, to);
    }
    write(text, at = 0, ...rest) {
      const name = typeof rest[rest.length - 1] === 'string' ? rest[rest.length - 1] : 'utf8';
      const bytes = encoded(text, name).slice(0, Math.max(0, this.length - at));
      this.set(bytes, at);
      return bytes.length;
    }
    check(at, size) {
      if (!(at >= 0 && at + size <= this.length)) {
        throw new RangeError('The value of "offset" is out of range. Received ' + at);
      }
      return new DataView(this.buffer, this.byteOffset, this.byteLength);
    }
    readUIntBE(at, size) {
      this.check(at, size);
      let value = 0;
      for (let next = 0; next < size; next += 1) value = value * 256 + this[at + next];
      return value;
    }
    readUIntLE(at, size) {
      this.check(at, size);
      let value = 0;
      for (let next = size - 1; next >= 0; next -= 1) value = value * 256 + this[at + next];
      return value;
    }
    readIntBE(at, size) {
      const value = this.readUIntBE(at, size);
      return value >= 2 ** (8 * size - 1) ? value - 2 ** (8 * size) : value;
    }
    readIntLE(at, size) {
      const value = this.readUIntLE(at, size);
      return value >= 2 ** (8 * size - 1) ? value - 2 ** (8 * size) : value;
    }
    writeUIntBE(value, at, size) {
      this.check(at, size);
      for (let next = size - 1; next >= 0; next -= 1) {
        this[at + next] = value % 256;
        value = floor(value / 256);
      }
      return at + size;
    }
    writeUIntLE(value, at, size) {
      this.check(at, size);
      for (let next = 0; next < size; next += 1) {
        this[at + next] = value % 256;
        value = floor(value / 256);
      }
      return at + size;
    }
    writeIntBE(value, at, size) { return this.writeUIntBE(value < 0 ? value + 2 ** (8 * size) : value, at, size); }
    writeIntLE(value, at, size) { return this.writeUIntLE(value < 0 ? value + 2 ** (8 * size) : value, at, size); }
  }
  const bytesOf = (list) => {
    const made = new Buffer(list.length);
    made.set(list);
    return made;
  };
  // Read and write with DataView's names: [Node's, DataView's, bytes].
  const KINDS = [['Int8', 'Int8', 1], ['UInt8', 'Uint8', 1], ['Int16', 'Int16', 2], ['UInt16', 'Uint16', 2],
    ['Int32', 'Int32', 4], ['UInt32', 'Uint32', 4], ['Float', 'Float32', 4], ['Double', 'Float64', 8],
    ['BigInt64', 'BigInt64', 8], ['BigUInt64', 'BigUint64', 8]];
  for (const [name, kind, size] of KINDS) {
    for (const [end, little] of size === 1 ? [['', true]] : [['BE', false], ['LE', true]]) {
      const read = function (at = 0) { return this.check(at, size)['get' + kind](at, little); };
      const write = function (value, at = 0) {
        this.check(at, size)['set' + kind](at, value, little);
        return at + size;
      };
      for (const [verb, body] of [['read', read], ['write', write]]) {
        for (const spelt of [name, name.replace('UInt', 'Uint')]) {
          define(Buffer.prototype, verb + spelt + end, { value: body, writable: true, configurable: true });
        }
      }
    }
  }

  const module = { exports: {} };
  const require = (name) => {
    if (name === 'buffer' || name === 'node:buffer') return { Buffer };
    if (name === 'util' || name === 'node:util') return { TextEncoder, TextDecoder };
    throw new Error("require('" + name + "'): scripts have no modules but buffer and util");
  };
  const given = { console, atob, btoa, Buffer, TextEncoder, TextDecoder, module, exports: module.exports, require };
  for (const name of Object.keys(given)) {
    define(globalThis, name, { value: given[name], writable: true, configurable: true });
  }

  // How the server calls: for each function of the script that it found, one that sets clock and chance, and
  // puts what it is given where that function takes it. The bytes of a message are all further arguments.
  const start = (at) => {
    now = at;
    seed = 0x9e3779b9;
  };
  const shapes = {
    __proto__: null,
    decodeUplink: (run) => (at, fPort, ...bytes) => {
      start(at);
      return run({ bytes, fPort, recvTime: new RealDate(at) });
    },
    decodeDownlink: (run) => (at, fPort, ...bytes) => {
      start(at);
      return run({ bytes, fPort });
    },
    Decode: (run) => (at, fPort, ...bytes) => {
      start(at);
      return run(fPort, bytes, {});
    },
    Decoder: (run) => (at, fPort, ...bytes) => {
      start(at);
      return run(bytes, fPort);
    },
    decode: (run) => (at, fPort, ...bytes) => {
      start(at);
      return run(bytes, '');
    },
  };
  const encoder = (run) => (at, list) => {
    start(at);
    return apply(run, undefined, list);
  };
  const keys = Object.keys;
  const misfits = [];
  const exported = () => (module.exports !== null && typeof module.exports === 'object'
    || typeof module.exports === 'function' ? module.exports : {});
  define(globalThis, '__strait', { value: freeze({
    /** What calls the function of that name, if there is one. */
    adopt: (name, local) => {
      const first = exported()[name];
      const one = typeof local === 'function' ? local : typeof first === 'function' ? first : given.exports[name];
      if (typeof one === 'function') return (shapes[name] ?? encoder)(one);
      const misfit = local ?? first ?? given.exports[name];
      if (misfit !== undefined) misfits[misfits.length] = [name, typeof misfit];
      return undefined;
    },
    /** What the script defines besides, as pairs of name and type. */
    defined: () => {
      const found = [...misfits];
      for (const place of [globalThis, exported()]) {
        for (const name of keys(place)) {
          if (found.length < 100) found[found.length] = [name, typeof place[name]];
        }
      }
      return found;
    },
  }) });
})();
