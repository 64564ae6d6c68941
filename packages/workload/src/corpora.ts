import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { lengthsFromCsv } from "./document-lengths.ts";

/**
 * Corpora whose document lengths (tokens) come with this package, in `lengths/NAME.csv`. Which documents they are, how
 * they were counted and under what licence stands in `lengths/SOURCES.md`.
 */
export const corpusNames = [
  "books_classic",
  "chat_alpacaeval",
  "chat_sharegpt",
  "code_git",
  "dialog_sgd",
  "docs_peps",
  "instruct_gsm8k",
  "instruct_t0",
  "meetings_qmsum",
  "tooluse_tau_airline",
] as const;

export type CorpusName = (typeof corpusNames)[number];

/** The file with the lengths of the corpus's documents. */
export function corpusFile(name: CorpusName): string {
  // Both src and dist are direct children of the package, so the data lies beside either.
  return fileURLToPath(new URL(`../lengths/${name}.csv`, import.meta.url));
}

/** The length (tokens) of every document of the corpus, in corpus order: shuffle before use. */
export function corpusLengths(name: CorpusName): readonly number[] {
  const known = loaded.get(name);
  if (known) return known;
  const file = corpusFile(name);
  const lengths = lengthsFromCsv(readFileSync(file, "utf8"), file);
  loaded.set(name, lengths);
  return lengths;
}

const loaded = new Map<CorpusName, readonly number[]>();
