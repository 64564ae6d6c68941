import { type CorpusName, corpusLengths } from "./corpora.ts";
import { fillPack } from "./fill-pack.ts";
import { InputError } from "./input-error.ts";
import { type LengthLawName, lengthLaws } from "./length-laws.ts";
import { type LengthStream, mixedStream, shuffledStream, streamOfLaw } from "./length-streams.ts";
import type { PackedBatch } from "./packed-batch.ts";
import { type Random, seededRandom } from "./seeded-random.ts";

/** A named mixture of documents: what the experiments run on. */
export interface Mix {
  /** What a reader of a figure should know. */
  readonly description: string;
  /** Where documents come from; `weight` is the share of documents (not of tokens) that each part gives. */
  readonly parts: readonly MixPart[];
  /** Documents are cut at this share of the pack, so that a pack of many ranks still holds several. */
  readonly longestShare: number;
}

export type MixPart = { readonly weight: number } & (
  | { readonly corpus: CorpusName }
  | { readonly law: LengthLawName }
  | { readonly wholePack: true }
);

/**
 * The mixes by name. The weights of `hybrid` are ours: most documents are short instructions and chats, some are code, one
 * in a hundred is a book, so that the few long documents hold most of the tokens, as in long-context fine-tuning.
 */
export const mixes = {
  hybrid: {
    description: "instructions, chat, code and books in one pack",
    parts: [
      { weight: 0.72, corpus: "instruct_t0" },
      { weight: 0.2, corpus: "chat_alpacaeval" },
      { weight: 0.07, corpus: "code_git" },
      { weight: 0.01, corpus: "books_classic" },
    ],
    longestShare: 1 / 4,
  },
  instruct: {
    description: "instruction tuning: many short documents",
    parts: [{ weight: 1, corpus: "instruct_t0" }],
    longestShare: 1,
  },
  chat: {
    description: "single-turn and multi-turn chat",
    parts: [
      { weight: 0.9, corpus: "chat_alpacaeval" },
      { weight: 0.1, corpus: "chat_sharegpt" },
    ],
    longestShare: 1,
  },
  code: {
    description: "source files of one repository",
    parts: [{ weight: 1, corpus: "code_git" }],
    longestShare: 1,
  },
  meetings: {
    description: "meeting transcripts of 1.5k to 35k tokens",
    parts: [{ weight: 1, corpus: "meetings_qmsum" }],
    longestShare: 1,
  },
  books: {
    description: "whole books",
    parts: [{ weight: 1, corpus: "books_classic" }],
    longestShare: 1,
  },
  magilaw: {
    description: "the length law of a pretraining corpus",
    parts: [{ weight: 1, law: "pretraining" }],
    longestShare: 1 / 4,
  },
  single: {
    description: "one document as long as the pack",
    parts: [{ weight: 1, wholePack: true }],
    longestShare: 1,
  },
} as const satisfies Record<string, Mix>;

export type MixName = keyof typeof mixes;

/** The names of the mixes, in the order that tables show them. */
export const mixNames = Object.keys(mixes) as MixName[];

export interface MixOptions {
  /** The tokens that the pack holds. */
  readonly tokens: number;
  readonly seed: number;
  /** Documents are cut at this many tokens; the mix's share of the pack where it is left out. */
  readonly longest?: number | undefined;
}

/**
 * A pack of exactly `tokens` tokens with documents of the mix in seeded shuffled order, the last one cut. The same name,
 * tokens and seed give the same pack on every machine.
 *
 * @throws InputError if there is no such mix, or an option is not valid.
 */
export function mixPack(name: string, { tokens, seed, longest }: MixOptions): PackedBatch {
  const mix = namedMix(name);
  const cutAt = longest ?? Math.max(1, Math.floor(tokens * mix.longestShare));
  return fillPack(mixStream(mix, tokens, seededRandom(seed)), { tokens, longest: cutAt });
}

/**
 * The mix of that name.
 *
 * @throws InputError if there is none.
 */
export function namedMix(name: string): Mix {
  if (!Object.hasOwn(mixes, name)) throw new InputError(`unknown mix: ${name} (known: ${mixNames.join(", ")})`);
  return mixes[name as MixName];
}

/** The documents of a mix, without end; `tokens` is the length that a `wholePack` part gives. */
export function mixStream(mix: Mix, tokens: number, random: Random): LengthStream {
  const parts = mix.parts.map((part) => ({ weight: part.weight, stream: partStream(part, tokens, random) }));
  return mixedStream(parts, random);
}

function partStream(part: MixPart, tokens: number, random: Random): LengthStream {
  if ("corpus" in part) return shuffledStream(corpusLengths(part.corpus), random);
  if ("law" in part) return streamOfLaw(lengthLaws[part.law], random);
  return () => tokens;
}
