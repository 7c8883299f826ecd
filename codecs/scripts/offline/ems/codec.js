// Charging point: commands are looked up in an object of functions, one each.

const STATES = ['free', 'plugged', 'charging', 'fault'];
const ascii = (text, size) => Array.from(text.padEnd(size, '\0').slice(0, size), (c) => c.charCodeAt(0) & 0x7f);
const word = (n) => [(n >> 8) & 0xff, n & 0xff];

const COMMANDS = {
  START: ({ current, user }) => [current, ...ascii(user, 6)],
  STOP: () => [],
};

function decode(bytes) {
  const [id, ...rest] = bytes;
  if (id === 0x20) {
    const session = rest.slice(2).map((b) => b.toString(16).padStart(2, '0')).join('');
    return {
      msgType: 'deviceReq',
      hasMore: 0,
      data: [{ serviceId: 'Charger', serviceData: { state: STATES[rest[0]] || 'state ' + rest[0], current: rest[1], session } }],
    };
  }
  if (id === 0x21) {
    const mid = rest[0] * 256 + rest[1];
    return { msgType: 'deviceRsp', mid, errcode: Number(rest[2] !== 0), body: { code: rest[2] } };
  }
  throw new TypeError(`message ${id}`);
}

function encode({ msgType, cmd, mid, paras }) {
  if (msgType !== 'cloudReq') return null;
  const build = COMMANDS[cmd];
  if (!build) throw new Error(`command ${cmd} is not known`);
  const code = Object.keys(COMMANDS).indexOf(cmd) + 1;
  return [0x30, code, ...word(mid), ...build(paras)];
}
