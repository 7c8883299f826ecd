// Smoke detector: reports on 00, answers to commands on 02.

function decode(payload, topic) {
  var id = payload[0] & 0xff;
  var message;
  if (id === 0x00) {
    message = {
      msg_type: 'properties_report',
      services: [{
        service_id: 'smokerdector',
        properties: { level: payload[1] & 0xff, temperature: ((payload[2] & 0xff) << 8) | (payload[3] & 0xff) }
      }]
    };
  } else if (id === 0x02) {
    message = {
      msg_type: 'command_response',
      mid: ((payload[1] & 0xff) << 8) | (payload[2] & 0xff),
      result_code: payload[3],
      response_name: 'SET_ALARM_RSP',
      paras: { errcode: payload[3], result: payload[4] }
    };
  } else {
    throw new Error('message ' + id + ' is not known');
  }
  return JSON.stringify(message);
}

function encode(json) {
  var message = JSON.parse(json);
  if (message.msg_type !== 'commands') {
    throw new Error(message.msg_type + ' is not taken');
  }
  return [0x03, message.mid >> 8, message.mid & 0xff, message.paras.value];
}
