// Lock whose messages end in a checksum; enumerations are objects that are read both ways.

const METHODS = { pin: 1, card: 2, app: 3 };
const nameOf = (table, code) => Object.entries(table).find(([, c]) => c === code)?.[0] ?? 'unknown';
const sum = (bytes) => bytes.reduce((total, byte) => (total + (byte & 0xff)) & 0xff, 0);

function decode(payload, topic) {
  const bytes = [...payload].map((byte) => byte & 0xff);
  const check = bytes.pop();
  if (check !== sum(bytes)) {
    throw new Error(`checksum is ${check}, computed ${sum(bytes)}`);
  }
  const [id, ...body] = bytes;
  const answers = {
    1: ([state, method, user]) => ({
      msg_type: 'properties_report',
      services: [{ service_id: 'Lock', properties: { locked: state === 1, method: nameOf(METHODS, method), user } }],
    }),
    2: ([high, low, code]) => ({
      msg_type: 'command_response',
      mid: high * 256 + low,
      result_code: code ? 1 : 0,
      response_name: 'UNLOCK_RSP',
      paras: { result: code ? 'refused' : 'opened' },
    }),
  };
  if (!(id in answers)) throw new Error(`message ${id} is not known`);
  return JSON.stringify(answers[id](body));
}

function encode(json) {
  const { msg_type, mid, paras } = JSON.parse(json);
  if (msg_type !== 'commands') throw new Error(`${msg_type} is not taken`);
  const bytes = [3, mid >> 8, mid & 255, paras.user, paras.seconds];
  return [...bytes, sum(bytes)];
}
