// Soil probe: readings on port 2, big-endian, one flag byte in front.

function s16(b, i) {
  var v = (b[i] << 8) | b[i + 1];
  return v > 0x7fff ? v - 0x10000 : v;
}

function decodeUplink(input) {
  var b = input.bytes;
  if (input.fPort !== 2) {
    return { errors: ['port ' + input.fPort + ' is not known'] };
  }
  if (b.length !== 9) {
    return { errors: ['takes 9 bytes, got ' + b.length] };
  }
  var warnings = [];
  var data = {
    moisture: ((b[1] << 8) | b[2]) / 100,
    temperature: s16(b, 3) / 100,
    conductivity: (b[5] << 8) | b[6],
    battery: ((b[7] << 8) | b[8]) / 1000,
    sensorFault: (b[0] & 0x01) !== 0,
  };
  if (data.battery < 3) {
    warnings.push('battery is low');
  }
  return { data: data, warnings: warnings };
}

function encodeDownlink(input) {
  var minutes = input.data.minutes;
  if (minutes < 1 || minutes > 1440) {
    return { errors: ['minutes is ' + minutes + ', takes 1 to 1440'] };
  }
  return { bytes: [0x10, minutes >> 8, minutes & 0xff], fPort: 3 };
}

function decodeDownlink(input) {
  return { data: { minutes: (input.bytes[1] << 8) | input.bytes[2] } };
}
