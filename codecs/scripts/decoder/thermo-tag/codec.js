// Temperature tag for network servers of old: Decoder(bytes, port).

function Decoder(bytes, port) {
  var decoded = {};
  if (port === 2) {
    decoded.battery = (((bytes[0] << 8) | bytes[1]) & 0x3fff) / 1000;
    decoded.temperature = (((bytes[2] << 24) >> 16) | bytes[3]) / 100;
    decoded.humidity = ((bytes[4] << 8) | bytes[5]) / 10;
  } else {
    throw 'port ' + port + ' is not known';
  }
  return decoded;
}

function Encoder(object, port) {
  var seconds = object.seconds;
  return [0x01, (seconds >> 16) & 0xff, (seconds >> 8) & 0xff, seconds & 0xff];
}
