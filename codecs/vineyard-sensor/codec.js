// Vineyard sensor: what a climate row of a vineyard needs, on port 10; a frost alarm on port 11.
// Written for the LoRaWAN form, so the same file serves network servers and this platform.

var UP = 10;
var FROST = 11;
var DOWN = 20;

function signed16(high, low) {
  return ((high << 24) >> 16) | low;
}

function climate(bytes) {
  return {
    soilMoisture: bytes[0],
    soilTemperature: signed16(bytes[1], bytes[2]) / 10,
    leafWetness: bytes[3],
    airTemperature: signed16(bytes[4], bytes[5]) / 10,
    humidity: bytes[6],
    battery: (bytes[7] + 200) / 100,
    frost: false
  };
}

function decodeUplink(input) {
  var bytes = input.bytes;
  switch (input.fPort) {
    case UP:
      if (bytes.length !== 8) {
        return { errors: ['climate takes 8 bytes, got ' + bytes.length] };
      }
      var data = climate(bytes);
      return { data: data, warnings: data.battery < 3.1 ? ['battery is low'] : [] };
    case FROST:
      if (bytes.length !== 2) {
        return { errors: ['frost takes 2 bytes, got ' + bytes.length] };
      }
      return { data: { frost: true, airTemperature: signed16(bytes[0], bytes[1]) / 10 } };
    default:
      return { errors: ['port ' + input.fPort + ' is not known, takes 10 or 11'] };
  }
}

function encodeDownlink(input) {
  var data = input.data;
  if (data.minutes !== undefined) {
    if (data.minutes < 5 || data.minutes > 1440) {
      return { errors: ['minutes is ' + data.minutes + ', takes 5 to 1440'] };
    }
    return { bytes: [0x01, data.minutes >> 8, data.minutes & 0xff], fPort: DOWN };
  }
  if (data.celsius !== undefined) {
    var tenths = Math.round(data.celsius * 10);
    return { bytes: [0x02, (tenths >> 8) & 0xff, tenths & 0xff], fPort: DOWN };
  }
  return { errors: ['takes minutes or celsius'] };
}

function decodeDownlink(input) {
  var bytes = input.bytes;
  if (bytes[0] === 0x01) {
    return { data: { minutes: (bytes[1] << 8) | bytes[2] } };
  }
  return { data: { celsius: signed16(bytes[1], bytes[2]) / 10 } };
}
