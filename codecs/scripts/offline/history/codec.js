// Level probe with a backlog: each entry is dated, and the last frame says that no more follows.

class Frame {
  constructor(bytes) {
    this.bytes = Uint8Array.from(bytes);
    this.view = new DataView(this.bytes.buffer);
  }

  get more() {
    return this.view.getUint8(0) & 1;
  }

  *entries() {
    for (let at = 1; at + 6 <= this.bytes.length; at += 6) {
      yield { seconds: this.view.getUint32(at), level: this.view.getInt16(at + 4) };
    }
  }
}

const compact = (seconds) => new Date(seconds * 1000).toISOString().replace(/[-:]|\.\d+/g, '');

function decode(bytes) {
  const frame = new Frame(bytes);
  const data = [...frame.entries()].map(({ seconds, level }) => ({
    serviceId: 'Level',
    serviceData: { level },
    eventTime: compact(seconds),
  }));
  if (data.length === 0) throw new Error('no entry');
  return { msgType: 'deviceReq', hasMore: frame.more, data };
}

function encode(message) {
  if (message.msgType !== 'cloudRsp') throw new Error('takes no commands');
  const count = Math.floor((message.request.length - 1) / 6);
  return message.errcode === 0 ? [0xac, count] : [0xac, 0];
}
