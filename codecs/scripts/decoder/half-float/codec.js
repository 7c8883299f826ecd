// Water laboratory with numbers of 16 bits in floating point.

function half(high, low) {
  var bits = (high << 8) | low;
  var sign = bits & 0x8000 ? -1 : 1;
  var exponent = (bits >> 10) & 0x1f;
  var fraction = bits & 0x3ff;
  if (exponent === 0) return sign * Math.pow(2, -14) * (fraction / 1024);
  if (exponent === 31) return NaN;
  return sign * Math.pow(2, exponent - 15) * (1 + fraction / 1024);
}

function Decoder(bytes, port) {
  var names = ['ph', 'redox', 'oxygen'];
  var decoded = {};
  names.forEach(function (name, i) {
    var value = half(bytes[2 * i], bytes[2 * i + 1]);
    if (isNaN(value)) throw new Error(name + ' is no number');
    decoded[name] = +value.toFixed(2);
  });
  return decoded;
}
