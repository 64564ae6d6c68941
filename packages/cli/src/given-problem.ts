import { clusterOf, namedCluster } from "@hsap/cluster";
import { type AttentionShape, checkProblem, type Mask, type Pass, type Problem } from "@hsap/schedule";
import {
  fillPack,
  InputError,
  mixPack,
  namedPack,
  type PackedBatch,
  packedBatch,
  parseDocs,
  readLengths,
  seededRandom,
  shuffledStream,
} from "@hsap/workload";
import { oneOf, wholeNumber } from "./option-values.ts";
import type { ProblemOptions } from "./problem-options.ts";

/** A pack and where it comes from. */
export interface NamedBatch {
  readonly name: string;
  readonly seed: number;
  readonly batch: PackedBatch;
}

const sources = ["docs", "lengths", "mix", "pack"] as const;

/** Which option says where the documents come from; undefined if none does. */
export function sourceOf(options: ProblemOptions): (typeof sources)[number] | undefined {
  const given = sources.filter((source) => options[source] !== undefined);
  if (given.length > 1) {
    throw new InputError(`conflicting options: --${given[0]} and --${given[1]} (give one source of documents)`);
  }
  return given[0];
}

/** The seed of a problem's documents and inputs. */
export function seedOf({ seed }: ProblemOptions): number {
  const value = seed === undefined ? 1 : wholeNumber("seed", seed, 0);
  if (value > 0xffffffff) throw new InputError(`invalid seed: ${seed} (must be at most ${0xffffffff})`);
  return value;
}

/**
 * The pack that the options describe; without any, 8192 tokens of the mix `hybrid`.
 *
 * @throws InputError if an option is not valid, or two name different sources.
 */
export function batchOf(options: ProblemOptions): NamedBatch {
  const { docs, lengths, mix = "hybrid", pack } = options;
  const seed = seedOf(options);
  const source = sourceOf(options);
  const tokens = options.tokens === undefined ? undefined : wholeNumber("tokens", options.tokens);
  if (tokens !== undefined && (source === "docs" || source === "pack")) {
    throw new InputError(`conflicting options: --tokens and --${source} (its lengths are given)`);
  }
  if (docs !== undefined) return { name: "docs", seed, batch: packedBatch(parseDocs(docs)) };
  if (pack !== undefined) return { name: pack, seed, batch: namedPack(pack) };
  if (lengths !== undefined) {
    const read = readLengths(lengths);
    const batch =
      tokens === undefined ? packedBatch(read) : fillPack(shuffledStream(read, seededRandom(seed)), { tokens });
    return { name: "lengths", seed, batch };
  }
  return { name: mix, seed, batch: mixPack(mix, { tokens: tokens ?? 8192, seed }) };
}

/**
 * The attention shape that the options describe.
 *
 * @throws InputError if a value is not valid.
 */
function shapeOf(options: ProblemOptions): AttentionShape {
  const heads = wholeNumber("heads", options.heads ?? "8");
  const fewest = heads % 2 === 0 ? 2 : heads;
  return {
    heads,
    kvHeads: options.kvHeads === undefined ? fewest : wholeNumber("kv-heads", options.kvHeads),
    headDim: wholeNumber("head-dim", options.headDim ?? "64"),
    dtype: oneOf("dtype", options.dtype ?? "fp32", ["fp32", "bf16"]),
  };
}

export function maskOf({ mask = "causal" }: ProblemOptions): Mask {
  return oneOf("mask", mask, ["causal", "full"]);
}

/** The passes that the options name; `byDefault` where they name none. */
export function passesOf({ pass }: ProblemOptions, byDefault: readonly Pass[]): readonly Pass[] {
  if (pass === undefined) return byDefault;
  const word = oneOf("pass", pass, ["forward", "backward", "both"]);
  return word === "both" ? ["forward", "backward"] : [word];
}

/**
 * The whole problem for one pass.
 *
 * @throws InputError if any option is not valid.
 */
export function problemOf(options: ProblemOptions, { batch }: NamedBatch, pass: Pass): Problem {
  const count = (name: string, text: string | undefined) => (text === undefined ? undefined : wholeNumber(name, text));
  const ranks = count("ranks", options.ranks);
  const ranksPerNode = count("ranks-per-node", options.ranksPerNode);
  const from = namedCluster(options.cluster ?? "local");
  const asGiven = ranks === undefined && ranksPerNode === undefined;
  const cluster = asGiven ? from : clusterOf({ ranks: ranks ?? from.ranks, ranksPerNode, from });
  return checkProblem({ batch, shape: shapeOf(options), cluster, mask: maskOf(options), pass });
}
