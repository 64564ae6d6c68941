import type { Hierarchy } from "../hierarchy.ts";
import { rowNumbers, sortByKey } from "../radix-sort.ts";
import type { Crossings, Hops } from "./hop.ts";

/** An owner that sends more than this multiple of its node's mean to other nodes shares the sending. */
const hotShare = 1.5;

/**
 * Shares the sending of hot owners: a front of a long document is wanted by many nodes, but lies with few units. Units of
 * the owner's node that need the piece themselves have it after the first round, and can send it on just as well. The
 * least busy of them takes over a crossing if that evens things out, large ones first.
 */
export function shareSending(crossings: Crossings, within: Hops, hierarchy: Hierarchy): Crossings {
  const { length, owner, begin, end } = crossings;
  const load = new Float64Array(hierarchy.units);
  for (let row = 0; row < length; row++) load[owner[row]] += end[row] - begin[row];
  const isHot = hotUnits(load, hierarchy);
  if (!isHot.includes(1)) return crossings;
  const hops = hopsByOwner(within, isHot);
  const from = owner.slice();
  const relay = new Int32Array(length).fill(-1);
  for (const row of largestFirst(crossings, isHot)) {
    const of = owner[row];
    let best = -1;
    for (let i = hops.begin[of]; i < hops.begin[of + 1]; i++) {
      const hop = hops.rows[i];
      if (within.begin[hop] > begin[row] || within.end[hop] < end[row]) continue;
      if (best < 0 || load[within.to[hop]] < load[within.to[best]]) best = hop;
    }
    const size = end[row] - begin[row];
    // Only what leaves the sender less busy than the owner was is worth a detour; so the busiest never gets busier.
    if (best < 0 || load[within.to[best]] + size >= load[of]) continue;
    load[of] -= size;
    load[within.to[best]] += size;
    from[row] = within.to[best];
    relay[row] = best;
  }
  return { ...crossings, from, relay };
}

/** 1 for the units that send far more than others of their node. */
function hotUnits(load: Float64Array, { units, unitBegin }: Hierarchy): Uint8Array {
  const isHot = new Uint8Array(units);
  for (let node = 0; node + 1 < unitBegin.length; node++) {
    let sum = 0;
    for (let unit = unitBegin[node]; unit < unitBegin[node + 1]; unit++) sum += load[unit];
    const most = (hotShare * sum) / (unitBegin[node + 1] - unitBegin[node]);
    for (let unit = unitBegin[node]; unit < unitBegin[node + 1]; unit++) isHot[unit] = load[unit] > most ? 1 : 0;
  }
  return isHot;
}

/** Rows of the hops that start at hot units, unit after unit. */
function hopsByOwner({ length, from }: Hops, isHot: Uint8Array): { begin: Int32Array; rows: Int32Array } {
  const begin = new Int32Array(isHot.length + 1);
  for (let hop = 0; hop < length; hop++) begin[from[hop] + 1] += isHot[from[hop]];
  for (let unit = 0; unit < isHot.length; unit++) begin[unit + 1] += begin[unit];
  const rows = new Int32Array(begin[isHot.length]);
  const next = begin.slice();
  for (let hop = 0; hop < length; hop++) if (isHot[from[hop]] === 1) rows[next[from[hop]]++] = hop;
  return { begin, rows };
}

/** Crossings of hot owners, large ones first; equal ones by position and then by receiver. */
function largestFirst({ length, owner, begin, end }: Crossings, isHot: Uint8Array): Int32Array {
  const order = rowNumbers(length).filter((row) => isHot[owner[row]] === 1);
  const keys = new Uint32Array(length);
  // Crossings come node after node, so of those of one piece the receivers are in order already.
  for (let row = 0; row < length; row++) keys[row] = begin[row];
  sortByKey(order, keys);
  for (let row = 0; row < length; row++) keys[row] = 0x7fffffff - (end[row] - begin[row]);
  sortByKey(order, keys);
  return order;
}
