import { formatSchedule } from "@hsap/schedule";
import { describe, expect, it } from "vitest";
import { hsap } from "../src/index.ts";
import { problemOf } from "./problems.ts";

/** From the degrees on: what stands before is the problem. */
const decisions = (text: string) => `${text.slice(text.indexOf("degrees")).trim()}\n`;

describe("the schedule of one long and two short documents on two nodes of two ranks", () => {
  for (const [pass, ulysses] of [
    ["forward", 1],
    ["backward", 1],
    ["forward", 2],
    ["backward", 2],
  ] as const) {
    it(`reads as reviewed: ${pass}, ulysses ${ulysses}`, async () => {
      const shape = { heads: 2, kvHeads: 2 };
      const problem = problemOf({ lengths: [12, 2, 2], ranks: 4, ranksPerNode: 2, shape, pass });
      // Forward with whole documents beside those whose heads are split, backward with all split.
      const split = pass === "forward" ? "nodes" : "all";
      const schedule = hsap.compile(problem, { ulysses, sap: 4 / ulysses }, { split });
      await expect(decisions(formatSchedule(schedule))).toMatchFileSnapshot(
        `golden/${pass}-ulysses${ulysses}.golden.txt`,
      );
    });
  }
});
