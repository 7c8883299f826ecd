// Air monitor: values, and a word for how bad it is, found in a table of bounds.

const BOUNDS = [[12, 'good'], [35, 'moderate'], [55, 'poor'], [Infinity, 'bad']];
const word = (pm25) => BOUNDS.find(([bound]) => pm25 <= bound)[1];

function decodeUplink({ bytes, fPort }) {
  switch (fPort) {
    case 1: {
      const buf = Buffer.from(bytes);
      if (buf.length !== 8) return { errors: [`takes 8 bytes, got ${buf.length}`] };
      const pm25 = buf.readUInt16BE(0);
      return {
        data: {
          pm25,
          pm10: buf.readUInt16BE(2),
          tvoc: buf.readUInt16BE(4),
          temperature: buf.readInt16LE(6) / 10,
          index: word(pm25),
        },
      };
    }
    case 2:
      return { data: {}, warnings: ['started again'] };
    default:
      return { errors: ['port is not known'] };
  }
}

function normalizeUplink({ data }) {
  return { data: { air: { temperature: data.temperature } } };
}
