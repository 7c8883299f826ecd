// Bytes may be signed here: everything goes through one function that makes them unsigned.

const u8 = (byte) => (byte < 0 ? byte + 256 : byte);

function decode(payload) {
  const bytes = Array.from(payload, u8);
  if (bytes.length < 7) throw new Error(`takes 7 bytes or more, got ${bytes.length}`);
  const reading = ((bytes[0] << 24) | (bytes[1] << 16) | (bytes[2] << 8) | bytes[3]) >>> 0;
  const negative = ((bytes[4] << 8 | bytes[5]) << 16) >> 16;
  const size = bytes[6];
  const text = bytes.slice(7, 7 + size).map((c) => String.fromCharCode(c)).join('');
  return JSON.stringify({
    msg_type: 'properties_report',
    services: [{ service_id: 'Meter', properties: { reading: reading / 1000, negative, text } }],
  });
}

function encode(json) {
  throw new Error('takes no commands');
}
