// Transport box: a base temperature and small differences to it, two in a byte.

const nibble = (n) => (n > 7 ? n - 16 : n);
const tenth = (n) => Math.round(n * 10) / 10;
const LID = Object.freeze({ 0: 'closed', 1: 'open', 2: 'opened and closed' });

function decodeUplink({ bytes }) {
  if (bytes.length < 7) return { errors: ['frame is cut'] };
  const base = (((bytes[0] << 8) | bytes[1]) << 16) >> 16;
  const lot = String.fromCharCode(...bytes.slice(2, 6));
  if (!/^[A-Z]{2}\d{2}$/.test(lot)) return { errors: [`lot ${JSON.stringify(lot)} is none`] };
  const lid = LID[bytes[6]];
  if (lid === undefined) return { errors: ['lid has state ' + bytes[6]] };
  let last = base / 10;
  const temperatures = [last];
  for (const byte of bytes.slice(7)) {
    for (const difference of [byte >> 4, byte & 15]) {
      last = tenth(last + nibble(difference) / 10);
      temperatures.push(last);
    }
  }
  return {
    data: { lot, lid, temperatures, lowest: Math.min(...temperatures), highest: Math.max(...temperatures) },
  };
}

function encodeDownlink({ data }) {
  const warnings = data.low > data.high ? ['limits were turned round'] : [];
  const limits = [data.low, data.high].sort((a, b) => a - b);
  const bytes = limits.flatMap((limit) => {
    const raw = Math.round(limit * 10) & 0xffff;
    return [raw >> 8, raw & 0xff];
  });
  return { bytes: [0x4c, ...bytes], fPort: 20, warnings };
}
