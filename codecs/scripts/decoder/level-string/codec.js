// Silo scale that sends text; a regular expression takes it apart.

function toText(bytes) {
  var text = '';
  for (var i = 0; i < bytes.length; i++) {
    text += String.fromCharCode(bytes[i]);
  }
  return text;
}

function Decoder(bytes, port) {
  var text = toText(bytes).trim();
  var found = /^W([+-]?\d+)(kg|t|lb)(?:\s*#.*)?$/i.exec(text);
  if (found === null) {
    throw new Error('no weight in "' + text.substr(0, 20) + '"');
  }
  return { weight: parseInt(found[1], 10), unit: found[2].toLowerCase(), raw: text };
}
