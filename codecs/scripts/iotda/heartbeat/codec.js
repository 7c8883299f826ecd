// Node with messages that say nothing to the model: an empty list of services is a heartbeat.

function report(properties) {
  var services = properties ? [{ service_id: 'Node', properties: properties }] : [];
  return JSON.stringify({ msg_type: 'properties_report', services: services });
}

function decode(payload, topic) {
  if (payload.length === 1 && payload[0] === 0) {
    return report(null);
  }
  if (payload.length !== 5) {
    throw new Error('takes 1 or 5 bytes, got ' + payload.length);
  }
  var uptime = 0;
  for (var i = 1; i < payload.length; i++) {
    uptime = uptime * 256 + (payload[i] & 0xff);
  }
  return report({ uptime: uptime });
}

function encode(json) {
  var message = JSON.parse(json);
  if (message.command_name !== 'REBOOT') {
    throw new Error(message.command_name + ' is no command');
  }
  var delay = message.paras.delay || 0;
  return [0x52, delay & 0xff];
}
