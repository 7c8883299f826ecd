// Tank gauge; bits become a list of names, and names become a bit again.

const ALARMS = ['low', 'high', 'leak', 'tilt'];
const HEIGHT = 2500;

const namesOf = (mask) => ALARMS.filter((_, bit) => mask & (1 << bit));

function trendOf(change) {
  if (change === 0) return 'steady';
  return change > 0 ? 'rising' : 'falling';
}

function decodeUplink({ bytes }) {
  const view = new DataView(new Uint8Array(bytes).buffer);
  if (view.byteLength !== 4) return { errors: ['takes 4 bytes'] };
  const level = HEIGHT - view.getUint16(0, true);
  return {
    data: {
      level,
      percent: Number(((level / HEIGHT) * 100).toFixed(1)),
      trend: trendOf(view.getInt8(2)),
      alarms: namesOf(view.getUint8(3)),
    },
  };
}

function encodeDownlink({ data: { name, percent } }) {
  const bit = ALARMS.indexOf(name);
  if (bit < 0) return { errors: [`name is ${name}, takes ${ALARMS.join(', ')}`] };
  return { bytes: [0x30 | bit, percent], fPort: 6 };
}

function decodeDownlink({ bytes: [head, percent] }) {
  return { data: { name: ALARMS[head & 0x0f], percent } };
}
