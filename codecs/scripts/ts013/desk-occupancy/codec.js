// Desk sensor of a product with more services; the product's setting says which one `data` is of.

async function readState(byte) {
  return (byte & 0x01) === 0x01;
}

async function decodeUplink({ bytes }) {
  if (bytes.length === 0) throw new Error('payload is empty');
  const occupied = await readState(bytes[0]);
  return { data: { occupied } };
}
