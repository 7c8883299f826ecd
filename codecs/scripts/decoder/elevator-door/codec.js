// Lift door: the time of the last change is the device's own clock, in minutes of the year 2020.

var STATES = Object.keys({ closed: 0, opening: 1, open: 2, closing: 3 });

function Decoder(bytes, port) {
  if (bytes.length < 6) throw { name: 'Short', message: 'frame is cut' };
  var minutes = (bytes[3] << 16) | (bytes[4] << 8) | bytes[5];
  var since = new Date(Date.UTC(2020, 0, 1) + minutes * 60000);
  return {
    state: STATES[bytes[0] & 3],
    cycles: (bytes[1] << 8) | bytes[2],
    since: since.toISOString().replace('.000Z', 'Z')
  };
}
