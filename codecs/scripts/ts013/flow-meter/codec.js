// Water meter with floats put together by hand and a serial number in packed digits.

function float32(bits) {
  var sign = bits >>> 31 === 0 ? 1 : -1;
  var exponent = (bits >>> 23) & 0xff;
  var mantissa = exponent === 0 ? (bits & 0x7fffff) << 1 : (bits & 0x7fffff) | 0x800000;
  return sign * mantissa * Math.pow(2, exponent - 150);
}

function u32(b, i) {
  return ((b[i] << 24) | (b[i + 1] << 16) | (b[i + 2] << 8) | b[i + 3]) >>> 0;
}

function digits(b, from, to) {
  var text = '';
  for (var i = from; i < to; i++) {
    text += (b[i] >> 4).toString() + (b[i] & 0x0f).toString();
  }
  return text;
}

function round(value, places) {
  return Number(value.toFixed(places));
}

function decodeUplink(input) {
  var b = input.bytes;
  if (b.length < 13) {
    return { errors: ['takes 13 bytes, got ' + b.length] };
  }
  return {
    data: {
      serial: digits(b, 0, 4),
      volume: round(float32(u32(b, 4)), 3),
      flow: round(float32(u32(b, 8)), 3),
      reverse: (b[12] & 1) === 1,
      leak: ((b[12] >> 1) & 1) === 1,
    },
  };
}

function encodeDownlink(input) {
  return { bytes: [0x56, input.data.open ? 0x01 : 0x00], fPort: 8 };
}

function decodeDownlink(input) {
  return { data: { open: input.bytes[1] === 1 } };
}
