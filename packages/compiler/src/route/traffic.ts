import type { Messages } from "./message.ts";

/** Which messages a unit sends and receives: rows of `Messages`, unit after unit, each in order of round and of the other unit. */
export interface Traffic {
  readonly sentBegin: Int32Array;
  readonly sent: Int32Array;
  readonly receivedBegin: Int32Array;
  readonly received: Int32Array;
}

export function trafficOf({ from, to }: Messages, units: number): Traffic {
  const [sentBegin, sent] = byUnit(from, units);
  const [receivedBegin, received] = byUnit(to, units);
  return { sentBegin, sent, receivedBegin, received };
}

/** Rows by the unit that `of` names, in their order. */
function byUnit(of: Int32Array, units: number): [begin: Int32Array, rows: Int32Array] {
  const begin = new Int32Array(units + 1);
  for (let row = 0; row < of.length; row++) begin[of[row] + 1]++;
  for (let unit = 0; unit < units; unit++) begin[unit + 1] += begin[unit];
  const next = begin.slice(0, units);
  const rows = new Int32Array(of.length);
  for (let row = 0; row < of.length; row++) rows[next[of[row]]++] = row;
  return [begin, rows];
}
