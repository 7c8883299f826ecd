// Meter for the offline form: objects go in and out, and reports are answered.

function decode(bytes) {
  if (bytes[0] === 0x01) {
    return {
      identifier: '01',
      msgType: 'deviceReq',
      hasMore: (bytes[1] >> 7) & 1,
      data: [{
        serviceId: 'WaterMeter',
        serviceData: {
          volume: ((bytes[2] << 16) | (bytes[3] << 8) | bytes[4]) / 1000,
          valve: bytes[1] & 1 ? 'closed' : 'open',
          battery: bytes[5]
        }
      }]
    };
  }
  if (bytes[0] === 0x82) {
    return {
      msgType: 'deviceRsp',
      mid: (bytes[1] << 8) | bytes[2],
      errcode: bytes[3] === 0 ? 0 : 1,
      body: { result: bytes[3] === 0 ? 'done' : 'failed' }
    };
  }
  throw new Error('message ' + bytes[0] + ' is not known');
}

function encode(message) {
  if (message.msgType === 'cloudReq') {
    return [0x81, message.mid >> 8, message.mid & 0xff, message.paras.state === 'closed' ? 1 : 0];
  }
  if (message.msgType === 'cloudRsp') {
    return [0x41, message.errcode, message.hasMore];
  }
  return null;
}
