import { describe, expect, it } from "vitest";
import { drawLongestSteps, type LongestStepsRow } from "../src/index.ts";
import { overlappingTexts, parseSvg, textBoxes } from "./drawn.ts";

const rows: LongestStepsRow[] = ["7b", "13b", "30b", "70b"].flatMap((model, size) =>
  [8, 16, 32].flatMap((ranks) =>
    (["selective", "full"] as const).flatMap((recompute) =>
      (["sharded", "replicated"] as const).map((weights) => ({
        ...{ device: "H100 SXM", memoryGiB: 80, strategy: "ring", model, ranks, recompute, weights },
        tokens: weights === "replicated" && size > 1 ? 0 : (ranks * 16384) >> size,
      })),
    ),
  ),
);

describe("the figure of the longest steps", () => {
  it("keeps its texts on the page and apart, and has every coordinate", () => {
    const svg = drawLongestSteps({ documents: "A step is one sequence.", rows });
    expect(overlappingTexts(textBoxes(svg))).toEqual([]);
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
  });

  it("has a mark for every step that fits, hollow where weights are replicated", () => {
    const svg = parseSvg(drawLongestSteps({ documents: "A step is one sequence.", rows }));
    const circles = [...svg.querySelectorAll('g[aria-label="dot"] circle')];
    expect(circles).toHaveLength(4 * 3 * 2 + 2 * 3 * 2);
    expect(svg.querySelectorAll('g[aria-label="dot"][fill="#ffffff"] circle')).toHaveLength(2 * 3 * 2);
  });

  it("is not drawn of nothing", () => {
    const none = rows.map((row) => ({ ...row, tokens: 0 }));
    expect(() => drawLongestSteps({ documents: "", rows: none })).toThrow("invalid steps: there are none to draw");
  });
});
