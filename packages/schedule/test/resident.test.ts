import { describe, expect, it } from "vitest";
import { homeBlocks, layoutOf, lower, regionFlags, ScheduleBuilder } from "../src/index.ts";
import { smallProblem } from "./small-ring.ts";

/** Two ranks that split heads: rank r has heads 2r and 2r + 1 of all 8 tokens, and owns 4 tokens. */
function headSplit({ hold }: { hold: boolean }) {
  const problem = smallProblem({ lengths: [8], ranks: 2, shape: { heads: 4, kvHeads: 4 }, pass: "backward" });
  const halves = [
    { begin: 0, end: 4 },
    { begin: 4, end: 8 },
  ];
  const builder = new ScheduleBuilder(problem, "heads", { heads: 2 }, layoutOf(halves.map((half) => [half])));
  for (const rank of [0, 1]) {
    const heads = [2 * rank, 2 * rank + 2] as const;
    const whole = { begin: 0, end: 8 };
    if (hold) builder.rank(rank).hold(builder.block("q", whole, heads), builder.block("dq", whole, heads));
    builder
      .rank(rank)
      .attend({ qBegin: 0, qEnd: 8, kBegin: 0, kEnd: 8, mask: "causal" }, { headBegin: heads[0], headEnd: heads[1] });
  }
  return builder.finish();
}

describe("resident", () => {
  it("is left out where nothing is held", () => {
    expect(headSplit({ hold: false }).resident).toBeUndefined();
  });

  it("adds inputs to those of the layout, and puts outputs in the place of the layout", () => {
    const schedule = headSplit({ hold: true });
    const block = (tensor: string, tokens: number[], heads: number[]) => ({
      ...{ tensor, part: 0, tokenBegin: tokens[0], tokenEnd: tokens[1] },
      ...{ headBegin: heads[0], headEnd: heads[1] },
    });
    expect(homeBlocks(schedule, 1, "q")).toEqual([block("q", [4, 8], [0, 4]), block("q", [0, 8], [2, 4])]);
    expect(homeBlocks(schedule, 1, "dq")).toEqual([block("dq", [0, 8], [2, 4])]);
    expect(homeBlocks(schedule, 1, "dk")).toEqual([block("dk", [4, 8], [0, 4])]);
  });

  it("takes memory only for the heads that are used", () => {
    const { region, owned } = lower(headSplit({ hold: true }));
    expect(new Set([...region.headEnd].map((end, i) => end - region.headBegin[i]))).toEqual(new Set([2]));
    const rows = [...owned.region].map((at, i) => [
      region.tensor[at],
      region.flags[at] & regionFlags.input,
      owned.tokenBegin[i],
      owned.tokenEnd[i],
    ]);
    // Rank 0: q, as owned and as held; dq, as held alone.
    expect(rows.filter(([tensor]) => tensor === 0).slice(0, 2)).toEqual([
      [0, regionFlags.input, 0, 4],
      [0, regionFlags.input, 0, 8],
    ]);
    expect(rows.filter(([tensor]) => tensor === 6)).toEqual([
      [6, 0, 0, 8],
      [6, 0, 0, 8],
    ]);
  });

  it("refuses a block without some of the heads that the program uses of its rows", () => {
    const schedule = headSplit({ hold: false });
    const narrow = { tensor: "q", part: 0, tokenBegin: 4, tokenEnd: 8, headBegin: 0, headEnd: 1 };
    expect(() => lower({ ...schedule, resident: [[narrow], []] })).toThrow(
      "rank 0 uses more heads than are resident: q[4:8 h0:1]",
    );
  });
});
