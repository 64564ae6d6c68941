/** A number on a label, three digits of it but no more than two decimals: `0.05`, `1.25`, `12.5`, `125`. */
export function labelNumber(value: number): string {
  if (value === 0) return "0";
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return value.toFixed(digits);
}

export interface Unit {
  readonly name: string;
  readonly size: number;
}

const byteUnits: readonly Unit[] = [
  { name: "GiB", size: 2 ** 30 },
  { name: "MiB", size: 2 ** 20 },
  { name: "KiB", size: 2 ** 10 },
];

/** The largest unit of bytes in which `bytes` is at least 1, for a whole panel. */
export const byteUnit = (bytes: number): Unit => byteUnits.find(({ size }) => bytes >= size) ?? { name: "B", size: 1 };

/** A count with commas between thousands: `16,384`. */
export const fullCount = (count: number): string => String(count).replace(/\B(?=(\d{3})+$)/g, ",");

/** `3 to 5`, or `3` where all are equal. */
export function rangeOf(counts: readonly number[]): string {
  const ends = [Math.min(...counts), Math.max(...counts)];
  return [...new Set(ends)].map(fullCount).join(" to ");
}
