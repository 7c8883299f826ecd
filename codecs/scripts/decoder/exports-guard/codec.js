// Vent drive, written to be required elsewhere: everything hangs on module.exports.

(function () {
  'use strict';

  var ERRORS = ['none', 'blocked', 'motor', 'radio'];

  function Decoder(bytes, port) {
    if (bytes.length !== 3) throw new Error('takes 3 bytes');
    return { position: bytes[0], target: bytes[1], error: ERRORS[bytes[2]] || 'error ' + bytes[2] };
  }

  function Encoder(object, port) {
    var target = Math.max(0, Math.min(100, object.target));
    return Uint8Array.of(0x0e, target);
  }

  if (typeof module !== 'undefined') {
    module.exports = { Decoder: Decoder, Encoder: Encoder };
  }
})();
