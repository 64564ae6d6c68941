import { InputError } from "./input-error.ts";
import { checkedLength } from "./packed-batch.ts";
import { type Random, randomIndex, randomInteger, randomNormal } from "./seeded-random.ts";

/** A law that document lengths (tokens) follow. */
export type LengthLaw = FixedLaw | UniformLaw | LognormalParetoLaw | BinsLaw;

/** Every document has `tokens` tokens. */
export interface FixedLaw {
  readonly kind: "fixed";
  readonly tokens: number;
}

/** Every whole number from `min` to `max` is equally likely. */
export interface UniformLaw {
  readonly kind: "uniform";
  readonly min: number;
  readonly max: number;
}

/**
 * A lognormal body (of log-mean `mu` and log-deviation `sigma`, in log tokens) and, for a share `tailShare` of the
 * documents, a Pareto tail: longer than x with probability (tailFrom / x)^alpha. Lengths are rounded and kept from 1 to
 * `max`. A single lognormal gives too few of the long documents that hold most of the attention.
 */
export interface LognormalParetoLaw {
  readonly kind: "lognormal-pareto";
  readonly mu: number;
  readonly sigma: number;
  readonly tailShare: number;
  readonly tailFrom: number;
  readonly alpha: number;
  readonly max: number;
}

/**
 * Documents counted by ranges of length. `share` needs not sum to 1. Inside a bin every length is equally likely, or
 * with `within: "midpoint"` all have the middle one, floor((min + max) / 2).
 */
export interface BinsLaw {
  readonly kind: "bins";
  readonly within: "uniform" | "midpoint";
  readonly bins: readonly LengthBin[];
}

export interface LengthBin {
  readonly min: number;
  readonly max: number;
  readonly share: number;
}

/**
 * Draws one document length (tokens) from the law.
 *
 * @throws InputError if the law's numbers describe no law.
 */
export function drawLength(law: LengthLaw, random: Random): number {
  switch (law.kind) {
    case "fixed":
      return checkedLength(law.tokens, "law fixed");
    case "uniform":
      checkRange(law, "law uniform");
      return randomInteger(random, law.min, law.max);
    case "lognormal-pareto":
      return drawLognormalPareto(law, random);
    case "bins":
      return drawFromBins(law, random);
  }
}

// Share of documents in percent per range of length in a pretraining corpus; 1k is 1024 tokens. Published as the
// document-length distribution of MagiAttention's evaluation. The shares sum to 100.02.
const pretrainingBins: readonly LengthBin[] = [
  { min: 1, max: 10, share: 0.22 },
  { min: 11, max: 50, share: 2.91 },
  { min: 51, max: 100, share: 5.2 },
  { min: 101, max: 200, share: 10.23 },
  { min: 201, max: 500, share: 28.19 },
  { min: 501, max: 1024, share: 24.64 },
  { min: 1025, max: 2048, share: 15.65 },
  { min: 2049, max: 4096, share: 7.34 },
  { min: 4097, max: 8192, share: 3.05 },
  { min: 8193, max: 16384, share: 1.29 },
  { min: 16385, max: 32768, share: 0.85 },
  { min: 32769, max: 65536, share: 0.14 },
  { min: 65537, max: 131072, share: 0.17 },
  { min: 131073, max: 196608, share: 0.14 },
];

/** Laws of known corpora, by name. */
export const lengthLaws = {
  /** A pretraining corpus: documents of 64k tokens and above hold about a fifth of the tokens and most of the area. */
  pretraining: { kind: "bins", within: "uniform", bins: pretrainingBins },
  /**
   * Wikipedia: the body's mu and sigma, alpha and the maximum as published. `tailShare` and `tailFrom` are solved so
   * that the mean is the published 1014 tokens and the 99th percentile the published 10.9k.
   */
  wikipedia: {
    kind: "lognormal-pareto",
    mu: 5.95,
    sigma: 1.258,
    tailShare: 0.0098,
    tailFrom: 8500,
    alpha: 1.9,
    max: 1_800_000,
  },
  /**
   * ProLong: mu, sigma and the maximum as published. No tail is published: with alpha 2.5 (our choice), `tailShare` and
   * `tailFrom` are solved for the published mean of 3052 tokens and 99th percentile of 16.3k.
   */
  prolong: {
    kind: "lognormal-pareto",
    mu: 7.682,
    sigma: 0.738,
    tailShare: 0.0098,
    tailFrom: 14_150,
    alpha: 2.5,
    max: 340_000,
  },
} as const satisfies Record<string, LengthLaw>;

export type LengthLawName = keyof typeof lengthLaws;

function drawLognormalPareto(law: LognormalParetoLaw, random: Random): number {
  const { mu, sigma, tailShare, tailFrom, alpha, max } = law;
  const valid = sigma >= 0 && tailShare >= 0 && tailShare <= 1 && tailFrom >= 1 && alpha > 0 && Number.isFinite(mu);
  if (!valid) {
    const values = [mu, sigma, tailShare, tailFrom, alpha].join(", ");
    throw new InputError(
      `invalid law lognormal-pareto: ${values} (mu finite, sigma >= 0, tailShare 0 to 1, tailFrom >= 1, alpha > 0)`,
    );
  }
  checkedLength(max, "law lognormal-pareto max");
  const inTail = random() < tailShare;
  const length = inTail ? tailFrom * (1 - random()) ** (-1 / alpha) : Math.exp(mu + sigma * randomNormal(random));
  return Math.min(max, Math.max(1, Math.round(length)));
}

function drawFromBins({ bins, within }: BinsLaw, random: Random): number {
  let total = 0;
  for (const [index, bin] of bins.entries()) {
    checkRange(bin, `law bins ${index}`);
    if (!(bin.share >= 0))
      throw new InputError(`invalid share: ${bin.share} at law bins ${index} (must be at least 0)`);
    total += bin.share;
  }
  if (!(total > 0)) throw new InputError(`invalid law bins: shares sum to ${total} (must be above 0)`);
  const bin =
    bins[
      randomIndex(
        random,
        bins.map(({ share }) => share),
      )
    ];
  return within === "midpoint" ? Math.floor((bin.min + bin.max) / 2) : randomInteger(random, bin.min, bin.max);
}

function checkRange({ min, max }: { min: number; max: number }, where: string): void {
  checkedLength(min, `${where} min`);
  checkedLength(max, `${where} max`);
  if (min > max) throw new InputError(`invalid range: ${min} to ${max} at ${where} (min must not exceed max)`);
}
