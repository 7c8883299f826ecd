// Heat meter that reports its last hours, each entry with its own time.

function two(n) {
  return n < 10 ? '0' + n : '' + n;
}

function eventTime(seconds) {
  var d = new Date(seconds * 1000);
  return d.getUTCFullYear() + two(d.getUTCMonth() + 1) + two(d.getUTCDate()) + 'T' +
    two(d.getUTCHours()) + two(d.getUTCMinutes()) + two(d.getUTCSeconds()) + 'Z';
}

function number(payload, at, size) {
  var value = 0;
  for (var i = 0; i < size; i++) {
    value = value * 256 + (payload[at + i] & 0xff);
  }
  return value;
}

function decode(payload, topic) {
  var start = number(payload, 0, 4);
  var count = payload[4] & 0xff;
  if (payload.length !== 5 + count * 6) {
    throw new Error('says ' + count + ' entries, has ' + (payload.length - 5) / 6);
  }
  var services = [];
  for (var i = 0; i < count; i++) {
    services.push({
      service_id: 'Heat',
      event_time: eventTime(start + i * 3600),
      properties: { energy: number(payload, 5 + i * 6, 4) / 100, flow: number(payload, 9 + i * 6, 2) }
    });
  }
  return JSON.stringify({ msg_type: 'properties_report', services: services });
}

function encode(json) {
  return [];
}
