// Codec of @NAME@. What each field means: docs/codecs.md.
// Try: strait codec decode . --hex 0124f100ea
var MODES = { 0: "idle", 15: "active" };

// payload: the bytes. Gives an object.
function decode(payload) {
  var bytes = new Uint8Array(payload);
  var view = new DataView(bytes.buffer);
  switch (view.getUint8(0)) {
    case 0x01:
      return {
        msgType: "deviceReq",
        hasMore: 0,
        data: [
          {
            serviceId: "Sensor",
            serviceData: {
              battery_v: view.getUint8(1) / 10,
              alarm: (view.getUint8(2) & 1) === 1,
              mode: MODES[view.getUint8(2) >> 4],
              temperature_c: view.getInt16(3) / 10,
            },
          },
        ],
      };
    case 0x82:
      return {
        msgType: "deviceRsp",
        mid: view.getUint16(1),
        errcode: view.getUint8(3),
        body: { code: view.getUint8(3) === 0 ? "ok" : "refused" },
      };
    default:
      throw new Error("no message has id " + view.getUint8(0));
  }
}

// message: what shall be sent. Gives an array of bytes, or null for nothing.
function encode(message) {
  if (message.msgType === "cloudReq" && message.cmd === "SET_PERIOD") {
    var period = message.paras.period_min;
    return [0x81, message.mid >> 8, message.mid & 255, period >> 8, period & 255];
  }
  if (message.msgType === "cloudRsp") {
    return null; // Reports get no answer.
  }
  throw new Error("can't send " + message.cmd);
}
