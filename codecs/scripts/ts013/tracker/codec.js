// Position tracker: 24-bit coordinates, little-endian, counted in 1/46603 of a degree.

class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  get left() {
    return this.bytes.length - this.at;
  }

  unsigned(size) {
    if (this.left < size) throw new Error(`needs ${size} bytes at ${this.at}, ${this.left} are left`);
    let value = 0;
    for (let i = 0; i < size; i++) value += this.bytes[this.at + i] * 2 ** (8 * i);
    this.at += size;
    return value;
  }

  signed(size) {
    const value = this.unsigned(size);
    const half = 2 ** (8 * size - 1);
    return value >= half ? value - 2 * half : value;
  }
}

const degrees = (raw) => Math.round((raw / 46603) * 1e5) / 1e5;

function decodeUplink(input) {
  const reader = new Reader(input.bytes);
  const status = reader.unsigned(1);
  const data = { fix: (status & 0x80) !== 0, satellites: status & 0x0f };
  if (data.fix) {
    data.latitude = degrees(reader.signed(3));
    data.longitude = degrees(reader.signed(3));
    data.altitude = reader.signed(2);
    data.speed = reader.unsigned(1) / 2;
  }
  return { data };
}
