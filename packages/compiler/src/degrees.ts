import { type Degrees, type Problem, ranksOf } from "@hsap/schedule";
import { ulyssesDegrees } from "./hierarchy.ts";

/** Every pair of degrees that is possible for the problem: all of a unit's heads split, all else between units. */
export function candidateDegrees(problem: Problem): Degrees[] {
  return ulyssesDegrees(problem).map((ulysses) => ({ ulysses, sap: ranksOf(problem) / ulysses }));
}
