// Gas meter whose frames begin and end with marks; reports without an answer give null.

var START = 0x68, END = 0x16;

function body(frame) {
  if (frame[0] !== START || frame[frame.length - 1] !== END) {
    throw new Error('marks are missing');
  }
  if (frame[1] !== frame.length - 3) {
    throw new Error('length is ' + frame[1] + ', has ' + (frame.length - 3));
  }
  return frame.slice(2, -1);
}

function frame(bytes) {
  return [START, bytes.length].concat(bytes, END);
}

function decode(bytes) {
  var b = body(Array.prototype.slice.call(bytes));
  switch (b[0]) {
    case 1:
      return {
        msgType: 'deviceReq',
        hasMore: 0,
        data: [{ serviceId: 'Gas', serviceData: { flow: b[1] / 10, total: (b[2] * 65536 + b[3] * 256 + b[4]) / 100 } }]
      };
    case 3:
      return { msgType: 'deviceRsp', mid: b[1] * 256 + b[2], errcode: 0, body: { value: b[3] } };
    default:
      throw new Error('function ' + b[0]);
  }
}

function encode(message) {
  return message.msgType === 'cloudReq'
    ? frame([2, message.mid >> 8, message.mid & 0xff, message.paras.register])
    : null;
}
