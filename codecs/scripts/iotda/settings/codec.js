// Probe whose settings are written as properties; what is set comes back in its next report.

const FIELDS = [
  { name: 'interval', id: 1, scale: 1 },
  { name: 'limit', id: 2, scale: 100 },
  { name: 'value', id: 3, scale: 100 },
];

function decode(payload) {
  const properties = {};
  for (let at = 0; at < payload.length; at += 3) {
    const field = FIELDS.find(({ id }) => id === payload[at]);
    if (!field) throw new Error(`field ${payload[at]} is not known`);
    properties[field.name] = (((payload[at + 1] & 255) << 8) | (payload[at + 2] & 255)) / field.scale;
  }
  return JSON.stringify({ msg_type: 'properties_report', services: [{ service_id: 'Probe', properties }] });
}

function encode(json) {
  const message = JSON.parse(json);
  if (message.msg_type !== 'properties_set') throw new Error(`${message.msg_type} is not taken`);
  const wanted = message.services[0].properties;
  return FIELDS.filter(({ name }) => name in wanted).flatMap(({ name, id, scale }) => {
    const raw = Math.round(wanted[name] * scale);
    return [id, raw >> 8, raw & 255];
  });
}
