// Works on hex text, as those do who begin with a dump.

function Decoder(bytes, port) {
  var hex = bytes.map(function (b) { return ('0' + b.toString(16)).slice(-2); }).join('');
  if (hex.length !== 18) throw new Error('takes 9 bytes, got ' + bytes.length);
  var version = hex.substring(0, 4).split('').map(Number);
  var flags = parseInt(hex.substr(16, 2), 16).toString(2).padStart(8, '0');
  return {
    firmware: version.join('.'),
    model: 'GW-' + hex.substr(4, 4).toUpperCase(),
    id: hex.slice(8, 16).replace(/(..)(?=.)/g, '$1:'),
    flags: { online: flags.charAt(7) === '1', locked: flags.charAt(6) === '1', debug: flags.startsWith('1') }
  };
}
