// Shelf label: text goes down as UTF-8, and prices as cents.

const utf8 = (text) => [...new TextEncoder().encode(text)];

function decode(bytes) {
  const kind = bytes[0];
  const rest = Uint8Array.from(bytes.slice(1));
  if (kind === 1) {
    const cents = (rest[0] << 8) | rest[1];
    const text = new TextDecoder().decode(rest.slice(2));
    return { msgType: 'deviceReq', hasMore: 0, data: [{ serviceId: 'Shelf', serviceData: { price: cents / 100, text } }] };
  }
  if (kind === 2) {
    return { msgType: 'deviceRsp', mid: (rest[0] << 8) | rest[1], errcode: rest[2] ? 1 : 0, body: { shown: rest[2] === 0 } };
  }
  throw new Error(`kind ${kind}`);
}

function encode(message) {
  if (message.msgType !== 'cloudReq') return null;
  const { paras, mid } = message;
  const cents = Math.round(paras.price * 100);
  const text = utf8(paras.text);
  if (text.length > 32) throw new RangeError(`text has ${text.length} bytes, takes 32`);
  return Uint8Array.from([3, mid >> 8, mid & 255, cents >> 8, cents & 255, text.length, ...text]);
}
