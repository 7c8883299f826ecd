// Waste bin with two services in one frame; getters give what is computed.

function Status(bytes) {
  this.bytes = bytes;
}

Object.defineProperty(Status.prototype, 'fill', {
  get: function () { return Math.round((200 - this.bytes[1]) / 2); }
});

Object.defineProperty(Status.prototype, 'flags', {
  get: function () {
    var byte = this.bytes[2];
    return ['tilt', 'fire'].reduce(function (flags, name, bit) {
      flags[name] = (byte >> bit & 1) === 1;
      return flags;
    }, {});
  }
});

function decode(bytes) {
  if (bytes.length !== 8) throw new Error('takes 8 bytes, got ' + bytes.length);
  var status = new Status(bytes);
  return {
    msgType: 'deviceReq',
    hasMore: 0,
    data: [
      { serviceId: 'Bin', serviceData: { fill: status.fill, tilt: status.flags.tilt, fire: status.flags.fire } },
      { serviceId: 'Radio', serviceData: { rsrp: -bytes[3], cell: bytes.slice(4).reduce(function (n, b) { return n * 256 + b; }, 0) } }
    ]
  };
}

function encode(message) {
  return null;
}
