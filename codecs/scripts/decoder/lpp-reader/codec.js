// Reads a row of typed values into a list; the recursion is for those who like it.

var SIZES = { 0: 1, 1: 1, 2: 2, 101: 2, 103: 2, 104: 1, 113: 6, 136: 9 };

function number(bytes, signed) {
  var value = bytes.reduce(function (sum, byte) { return sum * 256 + byte; }, 0);
  var top = Math.pow(2, 8 * bytes.length);
  return signed && value >= top / 2 ? value - top : value;
}

var READERS = {
  0: function (b) { return { digitalIn: b[0] }; },
  1: function (b) { return { digitalOut: b[0] }; },
  2: function (b) { return { analogIn: number(b, true) / 100 }; },
  101: function (b) { return { light: number(b) }; },
  103: function (b) { return { temperature: number(b, true) / 10 }; },
  104: function (b) { return { humidity: b[0] / 2 }; },
  113: function (b) {
    return { x: number(b.slice(0, 2), true) / 1000, y: number(b.slice(2, 4), true) / 1000, z: number(b.slice(4, 6), true) / 1000 };
  },
  136: function (b) {
    return { latitude: number(b.slice(0, 3), true) / 10000, longitude: number(b.slice(3, 6), true) / 10000, altitude: number(b.slice(6, 9), true) / 100 };
  }
};

function walk(bytes, found) {
  if (bytes.length === 0) return found;
  var size = SIZES[bytes[1]];
  if (size === undefined || bytes.length < 2 + size) {
    throw new Error('value ' + (found.length + 1) + ' can not be read');
  }
  var value = READERS[bytes[1]](bytes.slice(2, 2 + size));
  value.channel = bytes[0];
  return walk(bytes.slice(2 + size), found.concat([value]));
}

function Decode(fPort, bytes) {
  var values = walk(Array.prototype.slice.call(bytes), []);
  return { values: values, count: values.length };
}
