// Codec of @NAME@. What each field means: docs/codecs.md.
// Try: strait codec decode . --hex 0124f100ea
var MODES = { 0: "idle", 15: "active" };

// payload: the bytes, which may be signed. Gives JSON text.
function decode(payload, topic) {
  var bytes = new Uint8Array(payload);
  var view = new DataView(bytes.buffer);
  switch (view.getUint8(0)) {
    case 0x01:
      return JSON.stringify({
        msg_type: "properties_report",
        services: [
          {
            service_id: "Sensor",
            properties: {
              battery_v: view.getUint8(1) / 10,
              alarm: (view.getUint8(2) & 1) === 1,
              mode: MODES[view.getUint8(2) >> 4],
              temperature_c: view.getInt16(3) / 10,
            },
          },
        ],
      });
    case 0x82:
      return JSON.stringify({
        msg_type: "command_response",
        mid: view.getUint16(1),
        result_code: view.getUint8(3),
        response_name: "SET_PERIOD_RSP",
        service_id: "Sensor",
        command_name: "SET_PERIOD",
        paras: { code: view.getUint8(3) === 0 ? "ok" : "refused" },
      });
    default:
      throw new Error("no message has id " + view.getUint8(0));
  }
}

// text: what shall be sent, as JSON. Gives an array of bytes.
function encode(text) {
  var message = JSON.parse(text);
  if (message.msg_type === "commands" && message.command_name === "SET_PERIOD") {
    var period = message.paras.period_min;
    return [0x81, message.mid >> 8, message.mid & 255, period >> 8, period & 255];
  }
  throw new Error("can't send " + message.msg_type);
}
