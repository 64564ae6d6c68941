import type { Hierarchy } from "./hierarchy.ts";
import type { Crossing, Hop } from "./route.ts";

/** An owner that sends more than this multiple of its node's mean to other nodes shares the sending. */
const hotShare = 1.5;

/**
 * Shares the sending of hot owners: a front of a long document is wanted by many nodes, but lies with few units. Units of
 * the owner's node that need the piece themselves have it after the first round, and can send it on just as well. The
 * least busy of them takes over a crossing if that evens things out, large ones first.
 */
export function shareSending(
  crossings: readonly Crossing[],
  within: readonly Hop[],
  { units, unitBegin }: Hierarchy,
): Crossing[] {
  const load = new Float64Array(units);
  const size = ({ begin, end }: Crossing) => end - begin;
  for (const crossing of crossings) load[crossing.from] += size(crossing);
  const hot = new Set<number>();
  for (let node = 0; node + 1 < unitBegin.length; node++) {
    const loads = load.subarray(unitBegin[node], unitBegin[node + 1]);
    const most = (hotShare * loads.reduce((a, b) => a + b, 0)) / loads.length;
    for (let unit = unitBegin[node]; unit < unitBegin[node + 1]; unit++) if (load[unit] > most) hot.add(unit);
  }
  if (hot.size === 0) return [...crossings];
  const withinFrom = new Map<number, Hop[]>([...hot].map((owner) => [owner, []]));
  for (const hop of within) withinFrom.get(hop.from)?.push(hop);
  const choices = crossings.flatMap((crossing) => {
    const hops = withinFrom
      .get(crossing.owner)
      ?.filter((hop) => hop.begin <= crossing.begin && hop.end >= crossing.end);
    return hops === undefined || hops.length === 0 ? [] : [{ crossing, senders: hops.map(({ to }) => to) }];
  });
  choices.sort(
    (a, b) =>
      size(b.crossing) - size(a.crossing) || a.crossing.begin - b.crossing.begin || a.crossing.to - b.crossing.to,
  );
  const senderOf = new Map<Crossing, number>();
  for (const { crossing, senders } of choices) {
    const { owner } = crossing;
    const sender = senders.reduce((best, unit) => (load[unit] < load[best] ? unit : best));
    // Only what leaves the sender less busy than the owner was is worth a detour; so the busiest never gets busier.
    if (load[sender] + size(crossing) >= load[owner]) continue;
    load[owner] -= size(crossing);
    load[sender] += size(crossing);
    senderOf.set(crossing, sender);
  }
  return crossings.map((crossing) => ({ ...crossing, from: senderOf.get(crossing) ?? crossing.from }));
}
