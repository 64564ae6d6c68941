import {
  type Block,
  type GroupKind,
  type Layout,
  layoutOf,
  type Problem,
  ranksOf,
  ScheduleBuilder,
  type Strategy,
  type TokenRange,
  type Transfer,
  tileArea,
  tilesBetween,
} from "@hsap/schedule";
import { InputError, tokensOf } from "@hsap/workload";
import { checkedDegrees } from "./degrees.ts";
import { dividedShard, otherPlaces, type Shard, shardBlocks, shardTiles } from "./shard.ts";

/**
 * MagiAttention's dispatch solver with group-cast and group-reduce, after its public descriptions: Tao and Huang, "MagiAttention:
 * A Distributed Attention Towards Linear Scalability for Ultra-Long Context, Heterogeneous Mask Training", 2025.
 *
 * Sharding: the pack is cut in chunks of ceil(N / (chunksPerRank * P)) tokens. From the largest area down, and the later of two
 * equal ones first, each chunk goes to the rank with the least area so far that has not its number of chunks yet, kept in a
 * min-heap.
 * Forward: each rank receives the keys and values that its queries need, and no others, from their owners (a group-cast), in
 * `stages` parts; the first stands before the tiles of its own keys, each further one before those of the one before.
 * Backward: the same, and after each stage's tiles its gradients return to their owners, who add them up (a group-reduce).
 * Volume: forward, the bytes of the needed rows of k and v that a rank does not own; backward twice that on the whole: the
 * needed rows in, and for each row of its own one gradient from every other rank that needs it.
 * Memory: two stages of the needed rows.
 * Balance: area as even as the heap makes it, token counts equal but for the last chunk; bytes and nodes are not looked at.
 * Constraints: none.
 */
export const dispatchGroupcast: Strategy = {
  name: "dispatch-groupcast",
  summary: "Chunks dealt to ranks by area from a min-heap; each rank receives the keys and values that it needs.",
  citation: "Tao and Huang, MagiAttention, 2025",
  degreeNames: ["dispatch"],
  defaultDegrees: (problem) => ({ dispatch: ranksOf(problem) }),
  candidateDegrees: (problem) => [{ dispatch: ranksOf(problem) }],
  options: {
    chunksPerRank: { summary: "chunks that each rank gets", default: 8 },
    stages: { summary: "parts in which the needed keys and values come", default: 2 },
    transport: {
      summary:
        "allToAll: a message for every pair of ranks; groupcast: a library that sends what several ranks of a node need once",
      default: "allToAll",
    },
  },

  compile(problem, degrees, { chunksPerRank = 8, stages = 2, transport = "allToAll" } = {}) {
    const checked = checkedDegrees(dispatchGroupcast, problem, degrees);
    checkCount("chunksPerRank", chunksPerRank);
    checkCount("stages", stages);
    const kinds = kindsOf(transport);
    const shards = dispatchChunks(problem, checked.dispatch, Number(chunksPerRank));
    const owners = ownersOf(shards);
    const needs = shards.map((shard) => dividedShard(neededFromOthers(problem, shard), Number(stages)));
    const casts = Array.from({ length: Number(stages) }, (_, stage) =>
      needs.map((needed) => byOwner(owners, shards.length, needed[stage])),
    );
    const builder = new ScheduleBuilder(problem, "dispatch-groupcast", checked, shards);
    shards.forEach((_, rank) => {
      attendInStages(builder, shards, needs[rank], casts, rank, kinds);
    });
    return builder.finish();
  },
};

/** What each rank needs in one stage of the rows of each owner: `cast[rank][owner]`. */
type Cast = readonly (readonly Shard[])[];

/** What a group-cast and a group-reduce are to a transport. */
interface Kinds {
  readonly cast: GroupKind;
  readonly reduce: GroupKind;
}

function kindsOf(transport: unknown): Kinds {
  if (transport === "allToAll") return { cast: "allToAll", reduce: "allToAll" };
  if (transport === "groupcast") return { cast: "broadcast", reduce: "reduceScatter" };
  throw new InputError(`unknown transport: ${transport} (dispatch-groupcast has allToAll and groupcast)`);
}

function attendInStages(
  builder: ScheduleBuilder,
  shards: readonly Shard[],
  needed: readonly Shard[],
  casts: readonly Cast[],
  rank: number,
  kinds: Kinds,
): void {
  const { problem } = builder;
  const program = builder.rank(rank);
  const attendTo = (keys: Shard, kvPart: number) => {
    for (const tile of shardTiles(problem, shards[rank], keys)) program.attend(tile, { kvPart });
  };
  const groupCast = (stage: number) => {
    if (stage < casts.length) program.exchange(kinds.cast, castTransfers(builder, casts[stage], rank));
  };
  groupCast(0);
  attendTo(shards[rank], 0);
  casts.forEach((cast, stage) => {
    groupCast(stage + 1);
    attendTo(needed[stage], 1 + rank);
    if (problem.pass === "forward") return;
    // What came back from the stage before is added only now, so that it travelled while this stage was computed.
    if (stage > 0) addReturned(builder, casts[stage - 1], rank);
    returnGradients(builder, cast, rank, kinds);
  });
  if (problem.pass === "backward") addReturned(builder, casts[casts.length - 1], rank);
}

function castTransfers(builder: ScheduleBuilder, cast: Cast, rank: number): Transfer[] {
  const kv = (shard: Shard) => shardBlocks(builder, ["k", "v"], shard);
  return otherPlaces(cast, rank).flatMap((other) => [
    { to: other, blocks: kv(cast[other][rank]) },
    { from: other, blocks: kv(cast[rank][other]) },
  ]);
}

/** Returns the gradients of what was cast in a stage to their owners. */
function returnGradients(builder: ScheduleBuilder, cast: Cast, rank: number, kinds: Kinds): void {
  builder.rank(rank).exchange(
    kinds.reduce,
    otherPlaces(cast, rank).flatMap((other) => [
      { to: other, blocks: gradientShares(builder, cast, rank, other) },
      { from: other, blocks: gradientShares(builder, cast, other, rank) },
    ]),
  );
}

/** Adds the gradients that came back to an owner to its own. */
function addReturned(builder: ScheduleBuilder, cast: Cast, rank: number): void {
  for (const other of otherPlaces(cast, rank)) {
    for (const share of gradientShares(builder, cast, other, rank)) {
      builder.rank(rank).reduce({ ...share, part: 0 }, share);
    }
  }
}

/** What rank `of` has of the gradients that belong to `owner`. */
const gradientShares = (builder: ScheduleBuilder, cast: Cast, of: number, owner: number): Block[] =>
  shardBlocks(builder, ["dk", "dv"], cast[of][owner], { part: 1 + of });

function dispatchChunks({ batch, mask }: Problem, ranks: number, chunksPerRank: number): Layout {
  const tokens = tokensOf(batch);
  const size = Math.ceil(tokens / (chunksPerRank * ranks));
  const chunks: TokenRange[] = [];
  for (let begin = 0; begin < tokens; begin += size) chunks.push({ begin, end: Math.min(tokens, begin + size) });
  const areas = chunks.map((chunk) =>
    tilesBetween(batch, mask, chunk, { begin: 0, end: tokens }).reduce((sum, tile) => sum + tileArea(tile), 0),
  );
  const largestFirst = Array.from(chunks.keys()).sort((a, b) => areas[b] - areas[a] || b - a);
  const limit = Math.ceil(chunks.length / ranks);
  const dealt = Array.from({ length: ranks }, (): TokenRange[] => []);
  const heap = new RankHeap(ranks);
  for (const chunk of largestFirst) {
    const rank = heap.least();
    dealt[rank].push(chunks[chunk]);
    heap.add(areas[chunk], dealt[rank].length === limit);
  }
  return layoutOf(dealt);
}

/** Ranks by their area so far, and of equal ones by number: a binary min-heap. */
class RankHeap {
  readonly #ranks: number[];
  readonly #areas: Float64Array;

  constructor(ranks: number) {
    this.#ranks = Array.from({ length: ranks }, (_, rank) => rank);
    this.#areas = new Float64Array(ranks);
  }

  least(): number {
    return this.#ranks[0];
  }

  /** Gives the least rank more area, or takes it out because it has all its chunks. */
  add(area: number, isFull: boolean): void {
    this.#areas[this.#ranks[0]] += area;
    if (isFull) {
      const last = this.#ranks.pop();
      if (last === undefined || this.#ranks.length === 0) return;
      this.#ranks[0] = last;
    }
    for (let parent = 0; ; ) {
      const least = [2 * parent + 1, 2 * parent + 2].reduce((a, b) => (this.#isLess(b, a) ? b : a), parent);
      if (least === parent) return;
      [this.#ranks[parent], this.#ranks[least]] = [this.#ranks[least], this.#ranks[parent]];
      parent = least;
    }
  }

  #isLess(a: number, b: number): boolean {
    if (a >= this.#ranks.length) return false;
    const [rankA, rankB] = [this.#ranks[a], this.#ranks[b]];
    return this.#areas[rankA] < this.#areas[rankB] || (this.#areas[rankA] === this.#areas[rankB] && rankA < rankB);
  }
}

/** The keys that some query of the shard attends to and that the shard has not itself. */
function neededFromOthers(problem: Problem, shard: Shard): Shard {
  const tiles = shardTiles(problem, shard, [{ begin: 0, end: tokensOf(problem.batch) }]);
  const needed: { begin: number; end: number }[] = [];
  for (const { kBegin, kEnd } of tiles.sort((a, b) => a.kBegin - b.kBegin)) {
    const last = needed.at(-1);
    if (last !== undefined && kBegin <= last.end) last.end = Math.max(last.end, kEnd);
    else needed.push({ begin: kBegin, end: kEnd });
  }
  return needed.flatMap((range) => without(range, shard));
}

/** The parts of `range` outside of the sorted ranges of `shard`. */
function without({ begin, end }: TokenRange, shard: Shard): TokenRange[] {
  const rest: TokenRange[] = [];
  let from = begin;
  for (const own of shard) {
    if (own.end <= from || own.begin >= end) continue;
    if (own.begin > from) rest.push({ begin: from, end: own.begin });
    from = own.end;
  }
  if (from < end) rest.push({ begin: from, end });
  return rest;
}

interface OwnedRange extends TokenRange {
  readonly owner: number;
}

/** All ranges of the layout with their owners, in token order. */
const ownersOf = (layout: Layout): OwnedRange[] =>
  layout.flatMap((ranges, owner) => ranges.map((range) => ({ ...range, owner }))).sort((a, b) => a.begin - b.begin);

/** The pieces of `needed` that each rank owns. Both lists are sorted, so one pass over them is enough. */
function byOwner(owners: readonly OwnedRange[], ranks: number, needed: Shard): Shard[] {
  const pieces = Array.from({ length: ranks }, (): TokenRange[] => []);
  let at = 0;
  for (const { begin, end } of needed) {
    while (owners[at].end <= begin) at++;
    for (let i = at; i < owners.length && owners[i].begin < end; i++) {
      const range = owners[i];
      pieces[range.owner].push({ begin: Math.max(begin, range.begin), end: Math.min(end, range.end) });
    }
  }
  return pieces;
}

function checkCount(name: string, value: string | number | boolean): void {
  if (typeof value !== "number" || !Number.isInteger(value) || value < 1) {
    throw new InputError(`invalid ${name}: ${value} (must be a whole number of at least 1)`);
  }
}
