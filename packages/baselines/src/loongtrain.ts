import { ranksPerNode } from "@hsap/cluster";
import { type Degrees, type ProgramBuilder, ranksOf, ScheduleBuilder, type Strategy } from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import { checkedDegrees } from "./degrees.ts";
import { fp32Gradients, gradientTensors } from "./published-behaviour.ts";
import { addAll, type Ring } from "./ring.ts";
import { namedShards, rangesWithKeysOf, type Shard, shardBlocks, shardTiles } from "./shard.ts";
import { checkHeadSplit } from "./ulysses.ts";
import { attendInGroups, divisorsOf, headGroups, headSplits, layoutOfGroups, widestHeadSplit } from "./usp.ts";

/**
 * LoongTrain's 2D-Attention with Double-Ring-Attention: Gu et al., "LoongTrain: Efficient Training of Long-Sequence LLMs with
 * Head-Context Parallelism", arXiv 2406.18485.
 *
 * Sharding: as `usp.ts`, P = Pu * Pr, but the ring of Pr places is an outer ring of inner rings, `inner * outer` = Pr.
 * Placement: `head-first` puts the Pu ranks that split heads beside each other, `context-first` the ranks of one ring.
 * Forward: an all-to-all turns sequence shards into head shards. Then, `outer` times, keys and values go round each inner ring,
 * while those that each rank had at first go on to the next inner ring. An all-to-all brings the outputs back.
 * Backward: keys and values travel likewise, and their gradients the opposite way: summed round each inner ring they come
 * to the rank with the same inner place as their owner, and those sums travel along the outer ring to the owner.
 * Volume: as usp; each piece of keys and values, and of gradients, is received once by each other place of the ring.
 * Memory: as usp, and the piece for the next inner ring.
 * Balance: as usp.
 * Constraints: those of `ulysses.ts` for Pu. One communication lane carries both rings, so the outer exchange is issued after
 * the last exchange of an inner round, where it holds nothing up, instead of beside all of them.
 */
export const loongtrain: Strategy = {
  name: "loongtrain",
  summary: "Heads split as Ulysses does, and for each range of heads an outer ring of inner zigzag rings.",
  citation: "Gu et al., LoongTrain, arXiv 2406.18485",
  degreeNames: ["ulysses", "inner", "outer"],
  defaultDegrees: (problem) => {
    const ulysses = widestHeadSplit(problem);
    const places = ranksOf(problem) / ulysses;
    const inNode = Math.max(1, Math.floor(ranksPerNode(problem.cluster) / ulysses));
    const inner = Math.max(...divisorsOf(places).filter((divisor) => divisor <= inNode));
    return { ulysses, inner, outer: places / inner };
  },
  candidateDegrees: (problem) =>
    headSplits(problem).flatMap((ulysses) => {
      const places = ranksOf(problem) / ulysses;
      return divisorsOf(places).map((inner): Degrees => ({ ulysses, inner, outer: places / inner }));
    }),
  options: {
    shards: {
      summary: "zigzag: groups own chunks of the whole pack; zigzag-per-document: chunks of each document",
      default: "zigzag",
    },
    outer: {
      summary: "when the outer exchange is issued: last or first of a round (as published, on a lane of its own)",
      default: "last",
      published: "first",
    },
    gradients: {
      summary:
        "direct: a sum starts after the owner; circles: at the owner, and goes all round each ring (as published)",
      default: "direct",
      published: "circles",
    },
    placement: { summary: "head-first or context-first: which ranks are neighbours", default: "head-first" },
    fp32Gradients,
  },

  compile(problem, degrees, options = {}) {
    const { shards = "zigzag", outer: order = "last", gradients = "direct", placement = "head-first" } = options;
    const checked = checkedDegrees(loongtrain, problem, degrees);
    checkHeadSplit("loongtrain", problem, checked.ulysses);
    const { ulysses, inner, outer } = checked;
    const groups = headGroups(problem, namedShards("loongtrain", problem, inner * outer, shards), (place, member) => {
      if (placement === "head-first") return place * ulysses + member;
      if (placement === "context-first") return member * inner * outer + place;
      throw new InputError(`unknown placement: ${placement} (loongtrain has head-first and context-first)`);
    });
    const builder = new ScheduleBuilder(
      problem,
      "loongtrain",
      checked,
      layoutOfGroups(groups),
      gradientTensors(problem, options),
    );
    if (order !== "last" && order !== "first") {
      throw new InputError(`unknown outer: ${order} (loongtrain has last and first)`);
    }
    if (gradients !== "direct" && gradients !== "circles") {
      throw new InputError(`unknown gradients: ${gradients} (loongtrain has direct and circles)`);
    }
    attendInGroups(builder, groups, (ring) => attendDoubleRound(builder, ring, { inner, order, gradients }));
    return builder.finish();
  },
};

interface Rounds {
  readonly inner: number;
  readonly order: "first" | "last";
  readonly gradients: "direct" | "circles";
}

function attendDoubleRound(builder: ScheduleBuilder, ring: Ring, { inner, order, gradients }: Rounds): void {
  const attendBack = gradients === "direct" ? attendBackward : attendBackwardInCircles;
  const attendFrom = builder.problem.pass === "forward" ? attendForward : attendBack;
  ring.ranks.forEach((_, place) => {
    attendFrom(builder, ring, doubleRing(ring, inner, place, order), place);
  });
}

type DoubleRing = ReturnType<typeof doubleRing>;

/** The places around one place of an outer ring of inner rings, `inner` places each. */
function doubleRing({ ranks }: Ring, inner: number, place: number, order: "first" | "last") {
  const outer = ranks.length / inner;
  const [round, seat] = [Math.floor(place / inner), place % inner];
  const at = (round: number, seat: number) => ((round + outer) % outer) * inner + ((seat + 2 * inner) % inner);
  return {
    inner,
    outer,
    /** The step of an inner round before whose exchange, or after it, the outer exchange is issued. */
    outerStepAt: order === "first" ? 0 : Math.max(0, inner - 2),
    outerIsFirst: order === "first",
    next: ranks[at(round, seat + 1)],
    previous: ranks[at(round, seat - 1)],
    outerNext: ranks[at(round + 1, seat)],
    outerPrevious: ranks[at(round - 1, seat)],
    /** The place whose piece is here at an outer and an inner step. */
    heldAt: (outerStep: number, step: number) => at(round - outerStep, seat - step),
    /** The rank of this inner ring where the sum of the gradients of the piece held at an inner step starts. */
    innerStart: (step: number) => ranks[at(round, seat - step + 1)],
    /** The rank where the sum over inner rings starts for the piece held at an outer step. */
    outerStart: (outerStep: number) => ranks[at(round - outerStep + 1, seat)],
  };
}

function attendForward(builder: ScheduleBuilder, ring: Ring, around: DoubleRing, place: number): void {
  const program = builder.rank(ring.ranks[place]);
  for (let outerStep = 0; outerStep < around.outer; outerStep++) {
    for (let step = 0; step < around.inner; step++) {
      passKeysAndValues(builder, ring, around, program, outerStep, step);
      for (const tile of tilesOf(builder, ring, place, around.heldAt(outerStep, step))) {
        program.attend(tile, { headBegin: ring.heads[0], headEnd: ring.heads[1] });
      }
    }
  }
}

function attendBackward(builder: ScheduleBuilder, ring: Ring, around: DoubleRing, place: number): void {
  const { ranks, shards, heads, homeParts } = ring;
  const { inner, outer, next, previous, outerNext, outerPrevious, heldAt, innerStart, outerStart } = around;
  const program = builder.rank(ranks[place]);
  const gradients = (shard: Shard, part: number) => shardBlocks(builder, ["dk", "dv"], shard, { heads, part });
  const [own, home] = [1 + ranks[place], homeParts?.[place] ?? 0];
  for (let outerStep = 0; outerStep < outer; outerStep++) {
    const sum = outerStep === 0 ? home : own;
    for (let step = 0; step < inner; step++) {
      const held = heldAt(outerStep, step);
      passKeysAndValues(builder, ring, around, program, outerStep, step);
      const tiles = tilesOf(builder, ring, place, held);
      const kvPart = step === 0 ? sum : own;
      // A sum that starts here is whole even where no tile reaches it.
      const share = step > 1 ? rangesWithKeysOf(tiles, shards[held]) : shards[held];
      if (kvPart === own) for (const block of gradients(share, own)) program.reduce(block);
      for (const tile of tiles) program.attend(tile, { headBegin: heads[0], headEnd: heads[1], kvPart });
      if (step === 0) continue;
      if (step > 1) addAll(program, gradients(share, 1 + innerStart(step)), gradients(share, own));
      program.exchange("p2p", [
        { to: next, blocks: gradients(shards[held], 1 + innerStart(step)) },
        { from: previous, blocks: gradients(shards[heldAt(outerStep, step + 1)], 1 + innerStart(step + 1)) },
      ]);
    }
    // The piece that was here at the round's first step: its sum over this inner ring, then over those before.
    const first = shards[heldAt(outerStep, 0)];
    if (inner > 1) addAll(program, gradients(first, sum), gradients(first, 1 + innerStart(0)));
    if (outerStep === 0) continue;
    const travelling = gradients(first, 1 + outerStart(outerStep));
    if (outerStep > 1) addAll(program, travelling, gradients(first, own));
    program.exchange("p2p", [
      { to: outerNext, blocks: travelling },
      { from: outerPrevious, blocks: gradients(shards[heldAt(outerStep + 1, 0)], 1 + outerStart(outerStep + 1)) },
    ]);
  }
  if (outer > 1) addAll(program, gradients(shards[place], home), gradients(shards[place], 1 + outerStart(0)));
}

/** As published: the sum for a piece starts at its owner, goes once all round each inner ring, and then on to the next. */
function attendBackwardInCircles(builder: ScheduleBuilder, ring: Ring, around: DoubleRing, place: number): void {
  const { ranks, shards, heads, homeParts } = ring;
  const { inner, outer, next, previous, outerNext, outerPrevious, heldAt } = around;
  const program = builder.rank(ranks[place]);
  const gradients = (of: number, part: number) => shardBlocks(builder, ["dk", "dv"], shards[of], { heads, part });
  const sum = (of: number) => gradients(of, 1 + ranks[of]);
  // A rank's share of what others own must not be taken for a sum that starts here.
  const own = 1 + builder.problem.cluster.ranks + ranks[place];
  const pass = (to: number, from: number, sent: number, received: number) =>
    program.exchange("p2p", [
      { to, blocks: sum(sent) },
      { from, blocks: sum(received) },
    ]);
  for (let outerStep = 0; outerStep < outer; outerStep++) {
    for (let step = 0; step < inner; step++) {
      const held = heldAt(outerStep, step);
      passKeysAndValues(builder, ring, around, program, outerStep, step);
      const starts = held === place;
      const kvPart = starts ? 1 + ranks[place] : own;
      const tiles = tilesOf(builder, ring, place, held);
      const reached = rangesWithKeysOf(tiles, shards[held]);
      const share = starts ? sum(held) : shardBlocks(builder, ["dk", "dv"], reached, { heads, part: own });
      for (const block of share) program.reduce(block);
      for (const tile of tiles) program.attend(tile, { headBegin: heads[0], headEnd: heads[1], kvPart });
      if (!starts)
        addAll(program, shardBlocks(builder, ["dk", "dv"], reached, { heads, part: 1 + ranks[held] }), share);
      if (inner > 1) pass(next, previous, held, heldAt(outerStep, step + 1));
    }
    if (outer === 1) continue;
    // The published code waits here for the sum to come round before it goes on to the next round's tiles.
    for (const block of sum(heldAt(outerStep, 0))) program.reduce(block);
    pass(outerNext, outerPrevious, heldAt(outerStep, 0), heldAt(outerStep + 1, 0));
  }
  const home = homeParts?.[place] ?? 0;
  // Where kv heads are replicated the owner gathers its gradients under the very name of the sum.
  if (home !== 1 + ranks[place]) addAll(program, gradients(place, home), sum(place));
}

/** Passes on what is here at a step of the inner ring, and once in a round to the next inner ring what was here first. */
function passKeysAndValues(
  builder: ScheduleBuilder,
  { shards, heads }: Ring,
  { inner, outer, next, previous, outerNext, outerPrevious, heldAt, outerStepAt, outerIsFirst }: DoubleRing,
  program: ProgramBuilder,
  outerStep: number,
  step: number,
): void {
  const kv = (of: number) => shardBlocks(builder, ["k", "v"], shards[of], { heads });
  const passOutside = () => {
    if (step !== outerStepAt || outerStep + 1 >= outer) return;
    program.exchange("p2p", [
      { to: outerNext, blocks: kv(heldAt(outerStep, 0)) },
      { from: outerPrevious, blocks: kv(heldAt(outerStep + 1, 0)) },
    ]);
  };
  if (outerIsFirst) passOutside();
  if (step + 1 < inner) {
    program.exchange("p2p", [
      { to: next, blocks: kv(heldAt(outerStep, step)) },
      { from: previous, blocks: kv(heldAt(outerStep, step + 1)) },
    ]);
  }
  if (!outerIsFirst) passOutside();
}

const tilesOf = ({ problem }: ScheduleBuilder, { shards }: Ring, place: number, held: number) =>
  shardTiles(problem, shards[place], shards[held]);
