// Codec of @NAME@. What each field means: docs/codecs.md.
// Try: strait codec decode . --hex 0124f100ea --fport 1
var MODES = { 0: "idle", 15: "active" };

// input: { bytes, fPort, recvTime }
function decodeUplink(input) {
  var bytes = input.bytes;
  if (bytes[0] !== 0x01) {
    return { errors: ["no message has id " + bytes[0]] };
  }
  if (bytes.length !== 5) {
    return { errors: ["a report has 5 bytes, got " + bytes.length] };
  }
  var temperature = ((bytes[3] << 24) >> 16) | bytes[4];
  return {
    data: {
      battery_v: bytes[1] / 10,
      alarm: (bytes[2] & 1) === 1,
      mode: MODES[bytes[2] >> 4],
      temperature_c: temperature / 10,
    },
  };
}

// input: { data }, the command's parameters
function encodeDownlink(input) {
  var period = input.data.period_min;
  return { bytes: [0x81, period >> 8, period & 255], fPort: 1 };
}
