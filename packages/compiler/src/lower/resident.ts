import type { Block, Problem } from "@hsap/schedule";
import { headSlice } from "../hierarchy.ts";
import type { OwnedRanges } from "./owned-ranges.ts";

/** Who owns the tokens of one part of a plan, and how many lanes divide its heads. */
export interface OwnedPart {
  readonly ulysses: number;
  readonly owned: OwnedRanges;
}

/**
 * A function that lists what ranks keep besides their tokens (see `Schedule.resident`): the tokens of their whole unit, for
 * the heads of their lane. None if units have one rank. Where some documents' heads are split and others' are not, lse is listed
 * of these too, as the list of an output has to be complete.
 */
export function residentBlocks(problem: Problem, parts: readonly OwnedPart[]): (() => Block[][]) | undefined {
  if (parts.every(({ ulysses }) => ulysses === 1)) return undefined;
  const ranks = parts[0].owned.rangeBegin.length - 1;
  return () => Array.from({ length: ranks }, (_, rank) => parts.flatMap((part) => residentOf(problem, part, rank)));
}

function residentOf({ shape, pass }: Problem, { ulysses, owned }: OwnedPart, rank: number): Block[] {
  const { heads, kvHeads } = headSlice({ ulysses }, shape, rank % ulysses);
  const first = rank - (rank % ulysses);
  const tensors = ulysses === 1 && pass === "backward" ? [] : residentTensors[pass];
  return tensors.flatMap((tensor) => {
    const [headBegin, headEnd] = tensor === "k" || tensor === "v" ? kvHeads : heads;
    const blocks: Block[] = [];
    for (let range = owned.rangeBegin[first]; range < owned.rangeBegin[first + ulysses]; range++) {
      const [tokenBegin, tokenEnd] = [owned.begin[range], owned.end[range]];
      blocks.push({ tensor, part: 0, tokenBegin, tokenEnd, headBegin, headEnd });
    }
    return blocks;
  });
}

/** As with Ulysses alone, lse stays split by heads, and a backward pass finds q, k, v and lse as the forward pass left them. */
const residentTensors = { forward: ["lse"], backward: ["q", "k", "v", "lse", "delta"] } as const;
