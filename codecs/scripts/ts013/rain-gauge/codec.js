// Rain gauge with a history: each quarter of an hour a byte, newest first.

function isoMinute(date) {
  const two = (n) => String(n).padStart(2, '0');
  return `${date.getUTCFullYear()}-${two(date.getUTCMonth() + 1)}-${two(date.getUTCDate())} ` +
    `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}`;
}

function decodeUplink({ bytes, recvTime }) {
  if (bytes.length < 4) return { errors: ['takes at least 4 bytes'] };
  const [high, low, hours, count, ...history] = bytes;
  if (history.length !== count) {
    return { errors: [`says ${count} intervals, has ${history.length}`] };
  }
  const tips = high * 256 + low;
  const now = new Date(recvTime);
  const reset = new Date(now.getTime() - hours * 3600 * 1000);
  return {
    data: {
      tips,
      total: Math.round(tips * 20) / 100,
      sinceReset: isoMinute(reset),
      intervals: history.map((tips, index) => ({ minutesAgo: 15 * (index + 1), mm: Math.round(tips * 20) / 100 })),
    },
  };
}
