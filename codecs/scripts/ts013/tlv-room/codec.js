// Room sensor whose frames are a row of channel, type and value, as small payloads often are.

const TYPES = {
  0x67: { name: 'temperature', size: 2, read: (v) => v.getInt16(0) / 10 },
  0x68: { name: 'humidity', size: 1, read: (v) => v.getUint8(0) / 2 },
  0x73: { name: 'pressure', size: 2, read: (v) => v.getUint16(0) / 10 },
  0x7d: { name: 'co2', size: 2, read: (v) => v.getUint16(0) },
  0x65: { name: 'light', size: 2, read: (v) => v.getUint16(0) },
  0x66: { name: 'motion', size: 1, read: (v) => v.getUint8(0) },
};

function decodeUplink({ bytes }) {
  const view = new DataView(Uint8Array.from(bytes).buffer);
  const data = {};
  const warnings = [];
  let at = 0;
  while (at + 2 <= bytes.length) {
    const type = TYPES[bytes[at + 1]];
    if (!type) {
      return { errors: [`type 0x${bytes[at + 1].toString(16).padStart(2, '0')} at ${at + 1} is not known`] };
    }
    at += 2;
    if (at + type.size > bytes.length) {
      return { errors: [`${type.name} is cut`] };
    }
    if (type.name in data) warnings.push(`${type.name} comes twice`);
    data[type.name] = type.read(new DataView(view.buffer, at, type.size));
    at += type.size;
  }
  return { data, warnings };
}
