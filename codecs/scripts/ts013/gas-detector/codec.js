// Gas detector: the checksum is that of 1-Wire, computed bit by bit.

function crc8(bytes) {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = crc & 1 ? (crc >>> 1) ^ 0x8c : crc >>> 1;
  }
  return crc;
}

const LEVELS = ['clear', 'warning', 'alarm'];

function decodeUplink(input) {
  const body = input.bytes.slice(0, -1);
  const sum = input.bytes[input.bytes.length - 1];
  if (body.length !== 5) return { errors: [`takes 6 bytes, got ${input.bytes.length}`] };
  if (crc8(body) !== sum) return { errors: [`checksum is ${sum}, computed ${crc8(body)}`] };
  const [state, ...rest] = body;
  return {
    data: {
      ppm: (rest[0] << 8) | rest[1],
      level: LEVELS[state & 3] ?? 'unknown',
      ageDays: (rest[2] << 8) | rest[3],
      selfTest: Boolean(state & 0x80),
    },
  };
}

function encodeDownlink({ data }) {
  const body = data?.minutes === undefined ? [0x01] : [0x02, data.minutes];
  return { bytes: body.concat(crc8(body)), fPort: 1 };
}
