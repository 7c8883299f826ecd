// Button for ChirpStack's first decoders: Decode(fPort, bytes) and Encode(fPort, object).

var KINDS = { 1: 'short', 2: 'long', 3: 'double' };
var COLOURS = { off: 0, red: 1, green: 2, blue: 4 };

function Decode(fPort, bytes) {
  switch (fPort) {
    case 1:
      return { kind: KINDS[bytes[0]] || 'none', presses: bytes[1] };
    case 2:
      return { battery: Math.min(100, bytes[0]) };
    default:
      throw new Error('port ' + fPort);
  }
}

function Encode(fPort, obj) {
  if (!COLOURS.hasOwnProperty(obj.colour)) {
    throw new TypeError('colour is ' + obj.colour);
  }
  return [0x20, COLOURS[obj.colour]];
}
