// Lamp with two services; properties can be set, and answers carry the request's number.

var REPORT = 0xa1, ANSWER = 0xb1, SET = 0xc1;

function word(payload, at) {
  return ((payload[at] & 0xff) << 8) + (payload[at + 1] & 0xff);
}

function decode(payload, topic) {
  switch (payload[0] & 0xff) {
    case REPORT:
      return JSON.stringify({
        msg_type: 'properties_report',
        services: [
          { service_id: 'Lamp', properties: { on: payload[1] !== 0, dim: payload[1] & 0xff, hours: word(payload, 2) } },
          { service_id: 'Energy', properties: { kwh: word(payload, 4) / 10 } }
        ]
      });
    case ANSWER:
      return JSON.stringify({
        msg_type: 'command_response',
        mid: word(payload, 1),
        result_code: payload[3] === 0 ? 0 : 1,
        service_id: 'Lamp',
        command_name: 'DIM',
        response_name: 'DIM_RSP',
        paras: { state: payload[3] === 0 ? 'ok' : 'refused' }
      });
  }
  throw new Error('message 0x' + (payload[0] & 0xff).toString(16));
}

function encode(json) {
  var message = JSON.parse(json);
  switch (message.msg_type) {
    case 'commands':
      return [0xd1, message.mid >> 8, message.mid & 0xff, message.paras.percent];
    case 'properties_set':
      return [SET, message.services[0].properties.dim];
    default:
      throw new Error(message.msg_type + ' is not taken');
  }
}
