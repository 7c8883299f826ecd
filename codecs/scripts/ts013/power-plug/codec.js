// Socket meter. The parts of a frame come from a generator, bits of the head say which are there.

const PARTS = [
  ['voltage', 2, 10],
  ['power', 4, 100],
  ['powerFactor', 1, 1],
  ['energy', 4, 1000],
];

function* parts(bytes) {
  const head = bytes[0];
  let at = 1;
  for (const [bit, [name, size, scale]] of PARTS.entries()) {
    if (!(head & (1 << bit))) continue;
    const raw = bytes.slice(at, at + size);
    if (raw.length < size) throw new RangeError(`${name} is cut`);
    at += size;
    yield { [name]: raw.reduce((sum, byte) => sum * 256 + byte, 0) / scale };
  }
}

function decodeUplink({ bytes }) {
  try {
    const data = Object.assign({ on: (bytes[0] & 0x80) !== 0 }, ...parts(bytes));
    return { data };
  } catch (error) {
    return { errors: [error.message] };
  }
}

const encodeDownlink = ({ data: { on } }) => ({ fPort: 85, bytes: [8, on ? 1 : 0, 0xff] });
const decodeDownlink = ({ bytes }) => ({ data: { on: bytes[1] === 1 } });
