// Lift counter: 64 bits do not fit a number, so big integers carry them.

const STATES = { 0: 'idle', 1: 'up', 2: 'down' };

function u64(bytes) {
  return bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

function spell(seconds) {
  const day = 86400;
  const units = [['d', day], ['h', 3600], ['min', 60]];
  let rest = seconds;
  const words = [];
  for (const [unit, size] of units) {
    const n = Math.trunc(rest / size);
    rest %= size;
    if (n) words.push(n + ' ' + unit);
  }
  return words.join(' ') || '0 min';
}

function decodeUplink({ bytes }) {
  if (bytes.length < 16) return { errors: ['frame is cut'] };
  return {
    data: {
      state: STATES[bytes[0]] || 'state ' + bytes[0],
      trips: bytes[1] * 65536 + bytes[2] * 256 + bytes[3],
      big: u64(bytes.slice(4, 12)).toString(),
      longest: bytes[12],
      uptime: spell(bytes[13] * 65536 + bytes[14] * 256 + bytes[15]),
    },
  };
}
