import {
  type Block,
  type Layout,
  type Problem,
  type ProgramBuilder,
  ranksOf,
  ScheduleBuilder,
  type Strategy,
  type TensorSpec,
} from "@hsap/schedule";
import { tokensOf } from "@hsap/workload";
import { checkedDegrees } from "./degrees.ts";
import { contiguousShards, otherPlaces, shardBlocks } from "./shard.ts";

/**
 * Ring Self-Attention: Li et al., "Sequence Parallelism: Long Sequence Training from System Perspective", arXiv 2105.13120
 * (the sequence parallelism of Colossal-AI).
 *
 * Sharding: rank r owns the r-th contiguous piece of the sequence.
 * Forward: the keys of all pieces travel round the ring and give the scores of the rank's queries against the whole sequence,
 * materialised; after the softmax the values travel round the ring.
 * Backward: both travel again; then every rank has a share of the gradients of all keys and values, and the shares are
 * all-reduced in full (reduce-scatter and all-gather), although each rank needs only its own piece of the sums.
 * Volume, with h = heads * headDim: forward 2(P-1)/P * N*h*e, two rings; backward 6(P-1)/P * N*h*e, two rings and two
 * all-reduces. There are no grouped kv heads: keys and values are expanded to all heads before they travel.
 * Memory: scores of H x N/P x N; in the backward pass also all keys, which the gradients of the queries need after all values
 * have passed, and the gradients of all keys and values.
 * Balance: perfect in what it computes, N/P x N pairs on each rank: masked pairs, causal or between documents, are computed too.
 * Constraints: none.
 */
export const colaiSp: Strategy = {
  name: "colai-sp",
  summary: "Contiguous shards, materialised scores; keys, then values go round the ring, gradients are all-reduced.",
  citation: "Li et al., Sequence Parallelism: Long Sequence Training from System Perspective, arXiv 2105.13120",
  degreeNames: ["ring"],
  defaultDegrees: (problem) => ({ ring: ranksOf(problem) }),
  candidateDegrees: (problem) => [{ ring: ranksOf(problem) }],

  compile(problem, degrees) {
    const checked = checkedDegrees(colaiSp, problem, degrees);
    const shards = contiguousShards(problem, checked.ring);
    const builder = new ScheduleBuilder(problem, "colai-sp", checked, shards, expandedTensors(problem, checked.ring));
    shards.forEach((_, rank) => {
      const seat = new Seat(builder, shards, rank);
      if (problem.pass === "forward") attendForward(seat);
      else attendBackward(seat);
    });
    return builder.finish();
  },
};

/** Scores, a part for each piece of keys, and keys and values of all heads with their gradients. */
function expandedTensors({ batch, shape, pass }: Problem, ranks: number): TensorSpec[] {
  const { heads, headDim, dtype } = shape;
  const expanded = { heads, width: headDim, dtype, role: "internal" as const };
  const longestPiece = Math.ceil(tokensOf(batch) / ranks);
  const tensors: TensorSpec[] = [
    // Scores that were rounded to bf16 would be off by more than twice the rounding of the result.
    { name: "s", ...expanded, width: longestPiece, dtype: "fp32", accumulates: false },
    { name: "kx", ...expanded, accumulates: false },
    { name: "vx", ...expanded, accumulates: false },
  ];
  if (pass === "forward") return tensors;
  return [...tensors, { name: "dkx", ...expanded, accumulates: true }, { name: "dvx", ...expanded, accumulates: true }];
}

/** A rank's place at the ring. A piece is one block of each tensor, or none where there are fewer tokens than ranks. */
class Seat {
  readonly program: ProgramBuilder;
  /** Whether the rank owns queries. */
  readonly attends: boolean;
  /** The ranks that own keys. */
  readonly owners: readonly number[];

  constructor(
    readonly builder: ScheduleBuilder,
    readonly shards: Layout,
    readonly rank: number,
  ) {
    this.program = builder.rank(rank);
    this.attends = shards[rank].length > 0;
    this.owners = shards.flatMap((shard, owner) => (shard.length > 0 ? [owner] : []));
  }

  /** The piece of `tensor` that `owner` owns. */
  piece(tensor: string, owner = this.rank, part = 0): Block[] {
    return shardBlocks(this.builder, [tensor], this.shards[owner], { part });
  }

  /** The scores of this rank's queries against the keys of `owner`. */
  scores(owner: number): Block[] {
    return this.piece("s", this.rank, owner);
  }

  /** This rank's share of a gradient that belongs to `owner`. */
  share(tensor: string, owner: number): Block[] {
    return this.piece(tensor, owner, 1 + this.rank);
  }
}

function attendForward(seat: Seat): void {
  score(seat);
  goRound(seat, "vx", (owner) => {
    seat.program.compute("weigh", [...seat.scores(owner), ...seat.piece("vx", owner), ...seat.piece("o")]);
  });
}

function attendBackward(seat: Seat): void {
  score(seat);
  goRound(seat, "vx", (owner) => {
    const gradients = [...seat.piece("do"), ...seat.piece("delta"), ...seat.share("dvx", owner)];
    seat.program.compute("weigh", [...seat.scores(owner), ...seat.piece("vx", owner), ...gradients]);
  });
  // The gradients of the values are on their way while those of queries and keys are computed.
  reduceScatter(seat, "dvx");
  for (const owner of seat.attends ? seat.owners : []) {
    const gradients = [...seat.piece("dq"), ...seat.share("dkx", owner)];
    seat.program.compute("unscore", [
      ...seat.scores(owner),
      ...seat.piece("q"),
      ...seat.piece("kx", owner),
      ...gradients,
    ]);
  }
  reduceScatter(seat, "dkx");
  sumAndGather(seat, "dvx", "dv");
  sumAndGather(seat, "dkx", "dk");
}

/** Expands keys and values to all heads, and makes the probabilities of the rank's queries over the whole sequence. */
function score(seat: Seat): void {
  const { program, attends, owners } = seat;
  seat.piece("kx").forEach((target, i) => {
    program.copy(target, seat.piece("k")[i]);
  });
  seat.piece("vx").forEach((target, i) => {
    program.copy(target, seat.piece("v")[i]);
  });
  goRound(seat, "kx", (owner) => {
    program.compute("score", [...seat.piece("q"), ...seat.piece("kx", owner), ...seat.scores(owner)], "document");
  });
  if (attends) program.compute("softmax", [...seat.piece("lse"), ...owners.flatMap((owner) => seat.scores(owner))]);
}

/** Passes every piece of `tensor` once round the ring; a rank with queries uses each while the next one arrives. */
function goRound(seat: Seat, tensor: string, use: (owner: number) => void): void {
  const { program, shards, rank, attends } = seat;
  const size = shards.length;
  const heldAt = (step: number) => (rank - step + size) % size;
  for (let step = 0; step < size; step++) {
    if (step + 1 < size) {
      program.exchange("p2p", [
        { to: (rank + 1) % size, blocks: seat.piece(tensor, heldAt(step)) },
        { from: heldAt(1), blocks: seat.piece(tensor, heldAt(step + 1)) },
      ]);
    }
    if (attends && shards[heldAt(step)].length > 0) use(heldAt(step));
  }
}

/** The first half of an all-reduce: every rank's share of a piece goes to the piece's owner. */
function reduceScatter(seat: Seat, tensor: string): void {
  const { program, shards, rank, owners, attends } = seat;
  // A rank without queries takes part in the all-reduce with zeros.
  if (!attends) for (const owner of owners) for (const share of seat.share(tensor, owner)) program.reduce(share);
  program.exchange(
    "reduceScatter",
    otherPlaces(shards, rank).flatMap((other) => [
      { to: other, blocks: seat.share(tensor, other) },
      { from: other, blocks: seat.piece(tensor, rank, 1 + other) },
    ]),
  );
}

/** The second half: the owner's sum goes to every rank. The owner then folds it to the kv heads. */
function sumAndGather(seat: Seat, tensor: string, folded: string): void {
  const { program, rank, shards } = seat;
  for (const target of seat.piece(tensor)) {
    program.reduce(target, ...shards.flatMap((_, other) => seat.piece(tensor, rank, 1 + other)));
  }
  program.exchange(
    "allGather",
    otherPlaces(shards, rank).flatMap((other) => [
      { to: other, blocks: seat.piece(tensor) },
      { from: other, blocks: seat.piece(tensor, other) },
    ]),
  );
  seat.piece(folded).forEach((target, i) => {
    program.reduce(target, seat.piece(tensor)[i]);
  });
}
