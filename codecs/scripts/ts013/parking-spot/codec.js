// Parking sensor; alarm codes are names in a table, guarded exports for tests elsewhere.

var ALARMS = ['none', 'magnet', 'cover', 'cold'];

function decodeUplink(input) {
  var status = input.bytes[0];
  if (status === undefined) {
    return { errors: ['payload is empty'] };
  }
  var alarm = ALARMS[(status >> 1) & 0x07];
  if (!alarm) {
    return { errors: ['alarm code ' + ((status >> 1) & 0x07) + ' is not known'] };
  }
  var data = { occupied: (status & 1) === 1, alarm: alarm };
  if (input.bytes.length >= 3) {
    data.parkedMinutes = (input.bytes[1] << 8) + input.bytes[2];
  }
  if (input.bytes.length >= 4) {
    data.battery = (20 + input.bytes[3]) / 10;
  }
  return { data: data };
}

function encodeDownlink(input) {
  if ('value' in input.data) {
    return { bytes: [1, input.data.value & 0xff], fPort: 5 };
  }
  return { bytes: [2], fPort: 5 };
}

if (typeof module !== 'undefined' && module.exports) {
  module.exports = { decodeUplink: decodeUplink, encodeDownlink: encodeDownlink };
}
