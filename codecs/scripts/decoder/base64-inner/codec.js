// Logger that wraps text in base64 once more.

var ALPHABET = /^[A-Za-z0-9+\/]*={0,2}$/;

function Decoder(bytes, port) {
  var encoded = String.fromCharCode.apply(null, bytes);
  if (!ALPHABET.test(encoded)) {
    throw new Error('no base64');
  }
  var text = atob(encoded);
  var parts = text.split('|');
  return { serial: parts[0], message: parts.slice(1).join('|'), encoded: btoa(text) };
}
