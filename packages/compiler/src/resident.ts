import type { Block, Degrees, Problem } from "@hsap/schedule";
import { headSlice, hierarchyOf } from "./hierarchy.ts";
import type { OwnedRanges } from "./owned-ranges.ts";

/**
 * A function that lists what ranks keep besides their tokens (see `Schedule.resident`): the tokens of their whole unit, for
 * the heads of their lane. None if units have one rank.
 */
export function residentBlocks(
  problem: Problem,
  degrees: Degrees,
  { rangeBegin, begin, end }: OwnedRanges,
): (() => Block[][]) | undefined {
  const hierarchy = hierarchyOf(problem, degrees);
  const { ulysses, units } = hierarchy;
  if (ulysses === 1) return undefined;
  return () =>
    Array.from({ length: units * ulysses }, (_, rank) => {
      const { heads, kvHeads } = headSlice(hierarchy, problem.shape, rank % ulysses);
      const first = rank - (rank % ulysses);
      return residentTensors[problem.pass].flatMap((tensor) => {
        const [headBegin, headEnd] = tensor === "k" || tensor === "v" ? kvHeads : heads;
        const blocks: Block[] = [];
        for (let range = rangeBegin[first]; range < rangeBegin[first + ulysses]; range++) {
          blocks.push({ tensor, part: 0, tokenBegin: begin[range], tokenEnd: end[range], headBegin, headEnd });
        }
        return blocks;
      });
    });
}

/** As with Ulysses alone, lse stays split by heads, and a backward pass finds q, k, v and lse as the forward pass left them. */
const residentTensors = { forward: ["lse"], backward: ["q", "k", "v", "lse", "delta"] } as const;
