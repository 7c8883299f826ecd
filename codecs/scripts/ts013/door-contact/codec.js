// Door contact. Commands are told apart by the parameter that they have.

const flag = (byte, bit) => Boolean((byte >> bit) & 1);

const decoders = new Map([
  [0x01, (b) => ({ open: flag(b[1], 0), tamper: flag(b[1], 1), openings: b[2] * 256 + b[3] })],
  [0x02, (b) => ({ battery: b[1], lastOpenMinutes: b[2] * 256 + b[3] })],
]);

function decodeUplink(input) {
  const [id] = input.bytes;
  const decode = decoders.get(id);
  if (!decode) {
    return { errors: [`message ${id} is not known`] };
  }
  if (input.bytes.length < 4) {
    return { errors: ['message is cut'] };
  }
  return { data: decode(input.bytes) };
}

function encodeDownlink({ data }) {
  const { hours, seconds } = data;
  if (hours !== undefined) return { fPort: 10, bytes: [0xa0, hours] };
  if (seconds !== undefined) return { fPort: 10, bytes: [0xa1, seconds] };
  return { errors: ['takes hours or seconds'] };
}

function decodeDownlink({ bytes: [id, value] }) {
  return id === 0xa0 ? { data: { hours: value } } : { data: { seconds: value } };
}
