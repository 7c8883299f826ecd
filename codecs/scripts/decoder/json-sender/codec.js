// Kiosk that sends JSON over a binary product; the script picks what the model knows.

function Decode(fPort, bytes) {
  var text = new TextDecoder('utf-8').decode(new Uint8Array(bytes));
  var sent = JSON.parse(text);
  var out = {};
  ['screen', 'visitors', 'temperature'].forEach(function (key) {
    if (sent[key] != null) out[key] = sent[key];
  });
  if (Array.isArray(sent.tags)) {
    out.tags = Array.from(new Set(sent.tags.map(String))).sort();
  }
  return out;
}
