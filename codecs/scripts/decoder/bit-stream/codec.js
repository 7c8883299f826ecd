// Fields that don't keep to bytes: a closure hands out bits, highest first.

function bitsOf(bytes) {
  var at = 0;
  return function take(width) {
    var value = 0;
    while (width-- > 0) {
      if (at >= bytes.length * 8) throw new RangeError('no bit ' + at);
      value = (value << 1) | ((bytes[at >> 3] >> (7 - (at & 7))) & 1);
      at++;
    }
    return value;
  };
}

var MODES = ['sleep', 'eco', 'live'];

function Decode(fPort, bytes, variables) {
  var take = bitsOf(bytes);
  var mode = take(2);
  var angle = take(9);
  var steps = take(12);
  var charging = take(1) === 1;
  return { mode: MODES[mode] || 'mode ' + mode, angle: angle, steps: steps, charging: charging, voltage: (250 + take(8)) / 100 };
}

function Encode(fPort, obj, variables) {
  var word = (MODES.indexOf(obj.mode) & 3) << 14 | (obj.steps & 0x0fff) << 2;
  return [word >> 8, word & 0xff];
}
