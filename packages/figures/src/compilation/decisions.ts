import { levelBetween, ranksPerNode } from "@hsap/cluster";
import { accountOf, blockBytes, opAt, type Schedule, type Tile, tileArea, worldSizeOf } from "@hsap/schedule";

/** What a schedule decides, read off its ops. */
export interface Decisions {
  readonly ranks: number;
  readonly ranksPerNode: number;
  readonly tokens: number;
  /** Tiles of the first query head, and who computes them. */
  readonly tiles: readonly (Tile & { readonly rank: number })[];
  /** Token ranges and their owners, in token order. */
  readonly owners: readonly { readonly rank: number; readonly begin: number; readonly end: number }[];
  /** Bytes by sender and receiver, for pairs that exchange any. */
  readonly transfers: readonly Transfers[];
  readonly loads: readonly RankLoad[];
}

export interface Transfers {
  readonly from: number;
  readonly to: number;
  readonly bytes: number;
  /** Index of the cluster level whose link they take. */
  readonly level: number;
}

export interface RankLoad {
  readonly rank: number;
  readonly tokens: number;
  /** (query, key, head) triples that the rank computes. */
  readonly area: number;
  readonly insideNodeBytes: number;
  readonly betweenNodesBytes: number;
}

/** Reads tiles, owners, transfers and loads off a schedule's ops. */
export function decisionsOf(schedule: Schedule): Decisions {
  const { problem, layout } = schedule;
  const ranks = worldSizeOf(schedule);
  const transfers = transfersOf(schedule);
  const account = accountOf(schedule);
  const received = (rank: number, counts: (level: number) => boolean) =>
    transfers.filter(({ to, level }) => to === rank && counts(level)).reduce((sum, { bytes }) => sum + bytes, 0);
  return {
    ranks,
    ranksPerNode: Math.min(ranksPerNode(problem.cluster), ranks),
    tokens: problem.batch.cuSeqlens[problem.batch.cuSeqlens.length - 1],
    tiles: tilesOf(schedule),
    owners: layout
      .flatMap((ranges, rank) => ranges.map(({ begin, end }) => ({ rank, begin, end })))
      .sort((a, b) => a.begin - b.begin),
    transfers,
    loads: Array.from({ length: ranks }, (_, rank) => ({
      rank,
      tokens: account.tokens.perRank[rank],
      area: account.area.perRank[rank],
      insideNodeBytes: received(rank, (level) => level === 0),
      betweenNodesBytes: received(rank, (level) => level > 0),
    })),
  };
}

function tilesOf(schedule: Schedule): Decisions["tiles"] {
  const tiles: (Tile & { rank: number })[] = [];
  for (let rank = 0; rank < worldSizeOf(schedule); rank++) {
    for (let row = schedule.opBegin[rank]; row < schedule.opBegin[rank + 1]; row++) {
      const op = opAt(schedule, row);
      if (op.kind !== "attend" && op.kind !== "score") continue;
      const [q, k] = op.blocks;
      if (q.headBegin > 0) continue;
      // An unfused tile is a rectangle over many documents, masked afterwards.
      const mask = op.mask === "causal" && op.kind === "attend" ? "causal" : "full";
      tiles.push({ rank, qBegin: q.tokenBegin, qEnd: q.tokenEnd, kBegin: k.tokenBegin, kEnd: k.tokenEnd, mask });
    }
  }
  return tiles.filter((tile) => tileArea(tile) > 0);
}

function transfersOf(schedule: Schedule): Transfers[] {
  const { problem, tensors } = schedule;
  const specs = new Map(tensors.map((spec) => [spec.name, spec]));
  const bytes = new Map<string, Transfers>();
  for (let to = 0; to < worldSizeOf(schedule); to++) {
    for (let row = schedule.opBegin[to]; row < schedule.opBegin[to + 1]; row++) {
      const op = opAt(schedule, row);
      if (op.kind !== "recv") continue;
      const from = op.peer;
      const level = levelBetween(problem.cluster, from, to);
      const before = bytes.get(`${from} ${to}`)?.bytes ?? 0;
      const here = op.blocks.reduce((sum, block) => sum + blockBytes(block, specs.get(block.tensor)!), 0);
      bytes.set(`${from} ${to}`, { from, to, level, bytes: before + here });
    }
  }
  return [...bytes.values()].sort((a, b) => a.from - b.from || a.to - b.to);
}
