// Beacon scanner: a list of neighbours, strongest first, built with a prototype of ES5.

function Cursor(payload) {
  this.payload = payload;
  this.at = 0;
}

Cursor.prototype.byte = function () {
  if (this.at >= this.payload.length) {
    throw new Error('no byte ' + this.at);
  }
  return this.payload[this.at++] & 0xff;
};

Cursor.prototype.word = function () {
  return this.byte() * 256 + this.byte();
};

Cursor.prototype.hex = function (n) {
  var text = '';
  while (n--) {
    text += ('0' + this.byte().toString(16)).substr(-2);
  }
  return text;
};

function decode(payload, topic) {
  var cursor = new Cursor(payload);
  var properties = { major: cursor.word(), minor: cursor.word(), power: cursor.byte() - 256, near: [] };
  for (var count = cursor.byte(); count > 0; count--) {
    properties.near.push({ mac: cursor.hex(6), rssi: cursor.byte() - 256 });
  }
  properties.near.sort(function (a, b) { return b.rssi - a.rssi; });
  return JSON.stringify({ msg_type: 'properties_report', services: [{ service_id: 'Beacon', properties: properties }] });
}

function encode(json) {
  return [0];
}
