// Box with several parts: the keys of `data` are the services of its product.

function decodeUplink(input) {
  var b = input.bytes;
  var data = {};
  for (var i = 0; i < b.length; ) {
    var id = b[i++];
    if (id === 1 && i + 3 <= b.length) {
      data.Climate = { temperature: ((b[i] << 24) >> 16 | b[i + 1]) / 10, humidity: b[i + 2] };
      i += 3;
    } else if (id === 2 && i + 1 <= b.length) {
      data.Battery = { voltage: b[i] / 50 };
      i += 1;
    } else if (id === 3 && i < b.length) {
      var count = b[i++];
      data.Counter = { pulses: b.slice(i, i + count) };
      i += count;
    } else {
      return { errors: ['part ' + id + ' is cut or not known'] };
    }
  }
  return { data: data };
}
