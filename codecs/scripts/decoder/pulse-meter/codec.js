// Pulse counter for two meters in one: a switch over the status bits, little-endian.

function le(bytes, at, size) {
  var value = 0;
  for (var i = size - 1; i >= 0; i--) {
    value = value * 256 + bytes[at + i];
  }
  return value;
}

function Decoder(bytes, port) {
  if (bytes.length < 7) throw new Error('frame is cut');
  var status = bytes[0];
  var litres;
  switch (status & 0x03) {
    case 0: litres = 1; break;
    case 1: litres = 10; break;
    case 2: litres = 100; break;
    default: throw new Error('weight of a pulse is unknown');
  }
  var count = le(bytes, 1, 4);
  return {
    count: count,
    diff: le(bytes, 5, 2),
    volume: count * litres / 1000,
    alarmBack: !!(status & 0x40),
    alarmOff: !!(status & 0x80)
  };
}
