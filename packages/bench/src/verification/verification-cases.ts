import { clusterOf } from "@hsap/cluster";
import type { AttentionShape, Mask, Problem } from "@hsap/schedule";
import { mixPack, packedBatch, randomInteger, seededRandom } from "@hsap/workload";

/** How much is verified: `quick` for every change, `default` for every day, `full` for a release. */
export type VerificationSize = "quick" | "default" | "full";

/** A forward problem and the name of what it guards; its backward twin is verified with it. */
export interface VerificationCase {
  readonly name: string;
  readonly problem: Problem;
}

/** The rank counts that are verified: powers of two, odd ones, and multiples of three. */
export function verificationRanks(size: VerificationSize): readonly number[] {
  if (size === "quick") return [1, 2, 3, 4, 6, 8, 12, 16];
  return Array.from({ length: 16 }, (_, i) => i + 1);
}

/**
 * The cases for one number of ranks. Some packs are met on every number of ranks, the others in turn; `full` has every pack
 * with every shape.
 */
export function verificationCases(ranks: number, size: VerificationSize, seed: number): VerificationCase[] {
  const packs = conformancePacks(ranks, seed);
  const shapes = conformanceShapes(ranks);
  const cluster = clusterOf({ ranks, ranksPerNode: nodeSizeFor(ranks) });
  return packsFor(packs, ranks, size).flatMap(({ name, lengths, mask = "causal" }, index) => {
    // Ranks shift the pairing, so that over all rank counts every pack meets every shape.
    const met = size === "full" ? shapes : [shapes[(index + ranks) % shapes.length]];
    return met.map((shape) => ({
      name: `${name}, ${shape.heads} heads, ${shape.kvHeads} kv heads of ${shape.headDim}, ${mask}`,
      problem: { batch: packedBatch(lengths), shape, cluster, mask, pass: "forward" as const },
    }));
  });
}

interface ConformancePacks {
  readonly always: readonly ConformancePack[];
  readonly inTurn: readonly ConformancePack[];
}

function packsFor({ always, inTurn }: ConformancePacks, ranks: number, size: VerificationSize): ConformancePack[] {
  if (size === "full") return [...always, ...inTurn];
  const turn = (step: number): ConformancePack => inTurn[(ranks + step) % inTurn.length];
  return size === "quick" ? [...always] : [...always, turn(0), turn(2)];
}

interface ConformancePack {
  readonly name: string;
  readonly lengths: ArrayLike<number>;
  readonly mask?: Mask;
}

/** Document lengths that publicly reported failures were about, and seeded ones. */
function conformancePacks(ranks: number, seed: number): ConformancePacks {
  const random = seededRandom(seed * 100 + ranks);
  const drawn = Array.from({ length: randomInteger(random, 4, 8) }, () => randomInteger(random, 1, 40));
  const fewer = ranks <= 2 ? [1] : ranks === 3 ? [2] : [ranks >> 1, 1];
  return {
    always: [
      { name: "lengths 1, 7, 2P-1, 2P+1", lengths: [1, 7, 2 * ranks - 1, 2 * ranks + 1, 1, 53] },
      { name: "fewer tokens than ranks", lengths: fewer },
    ],
    inTurn: [
      { name: "lengths drawn at random", lengths: drawn },
      { name: "one document that nothing divides", lengths: [127] },
      { name: "documents on one rank each", lengths: new Array<number>(ranks).fill(9) },
      { name: "a long document, then an empty tail", lengths: [6 * ranks + 5, 1, 1] },
      { name: "lengths under the full mask", lengths: [11, 1, 2 * ranks + 1, 31], mask: "full" },
      { name: "instructions, chat, code and books", lengths: lengthsOfMix(seed + ranks) },
    ],
  };
}

function lengthsOfMix(seed: number): number[] {
  const { cuSeqlens } = mixPack("hybrid", { tokens: 300, seed });
  return Array.from(cuSeqlens.subarray(1), (end, i) => end - cuSeqlens[i]);
}

/** Head counts that every rank count divides, that few do, and one kv head for all; head dimensions 64, 80, 128. */
function conformanceShapes(ranks: number): AttentionShape[] {
  const dtype = "fp32";
  const divisible = ranks >= 3 ? ranks : 2 * ranks;
  return [
    { heads: divisible, kvHeads: divisible, headDim: 64, dtype },
    { heads: 2 * divisible, kvHeads: divisible, headDim: 80, dtype },
    { heads: 4, kvHeads: 1, headDim: 128, dtype },
    { heads: 12, kvHeads: 3, headDim: 64, dtype },
    { heads: divisible, kvHeads: 1, headDim: 80, dtype },
  ];
}

/** Nodes that exist: of 4 where that leaves several, of 2 or 3 for few ranks, and a partly used last node for odd counts. */
function nodeSizeFor(ranks: number): number {
  if (ranks > 4) return 4;
  return Math.min(ranks, 2);
}
