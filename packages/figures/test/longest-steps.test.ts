import { type LongestTrial, longestTrialVersion } from "@hsap/bench";
import { describe, expect, it } from "vitest";
import { drawLongestSteps, drawLongestTrials, type LongestStepsRow } from "../src/index.ts";
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

  it("has a mark for every step that fits, hollow where weights are replicated, and none above it where those fit nothing", () => {
    const svg = parseSvg(drawLongestSteps({ documents: "A step is one sequence.", rows }));
    const marks = [...svg.querySelectorAll('g[aria-label="dot"] circle')];
    expect(marks).toHaveLength(4 * 3 * 2 + 2 * 3 * 2);
    expect(marks.filter((mark) => mark.getAttribute("fill") === "#ffffff")).toHaveLength(2 * 3 * 2);
    expect(svg.querySelectorAll('g[aria-label="dot"] path')).toHaveLength(0);
  });

  it("has a cross where nothing fits, and strategies beside each other", () => {
    const hsap = rows.map((row) => ({ ...row, strategy: "hsap", tokens: row.model === "70b" ? 0 : row.tokens }));
    const svg = parseSvg(drawLongestSteps({ documents: "", rows: [...rows, ...hsap] }));
    expect(svg.querySelectorAll('g[aria-label="dot"] path')).toHaveLength(3 * 2 * 2);
    const [panel] = [...svg.querySelectorAll('g[aria-label="dot"]')];
    const places = [...panel.querySelectorAll("circle")].map((mark) => mark.getAttribute("cx"));
    expect(new Set(places).size).toBe(2 * 3);
  });

  it("is not drawn of nothing", () => {
    const none = rows.map((row) => ({ ...row, tokens: 0 }));
    expect(() => drawLongestSteps({ documents: "", rows: none })).toThrow("invalid steps: there are none to draw");
    expect(() => drawLongestTrials({ trials: [] })).toThrow("invalid steps: there are none to draw");
  });
});

describe("the figure of a sweep over longest steps", () => {
  const memory = { weights: 1, gradients: 2, optimiser: 3, activations: 4, working: 5, total: 15 };
  const trial: LongestTrial = {
    ...{ experiment: "longest", model: "7b", cluster: "h100-400g abc", ranks: 8, grainOfRank: 256, dtype: "bf16" },
    ...{ lossChunk: 4096, recompute: "full", strategy: "hsap", weights: "sharded", degrees: "most" },
    ...{ schema: longestTrialVersion, key: "k", environment: "e", at: "2026-01-02T03:04:05.000Z", origin: "counted" },
    device: { name: "H100 SXM", memoryGiB: 80 },
    outcome: { kind: "fits", degrees: { ulysses: 4, sap: 2 }, tokens: 4096, memory, next: { ...memory, total: 16 } },
  };

  it("has the numbers of all trials beside it, and marks for all that were not refused", () => {
    const nothing = { kind: "nothing fits", degrees: { ring: 8 }, next: memory } as const;
    const refused = { kind: "refused", reason: "invalid degree: 3" } as const;
    const trials: LongestTrial[] = [
      trial,
      { ...trial, strategy: "ring", outcome: nothing },
      { ...trial, strategy: "ulysses", outcome: refused },
    ];
    const { number, name, svg, data } = drawLongestTrials({ trials });
    expect([number, name]).toEqual([10, "longest"]);
    const marks = parseSvg(svg).querySelectorAll('g[aria-label="dot"] circle, g[aria-label="dot"] path');
    expect(marks).toHaveLength(2);
    const [header, ...lines] = data.text.trim().split("\n");
    expect(header).toMatch(/^cluster,device,memoryGiB,model,ranks,strategy,weights,recompute,outcome,degrees,tokens,/);
    expect(lines).toEqual([
      'h100-400g,H100 SXM,80,7b,8,hsap,sharded,full,fits,"ulysses=4,sap=2",4096,512,1,2,3,4,5,15,16,',
      "h100-400g,H100 SXM,80,7b,8,ring,sharded,full,nothing fits,ring=8,,,,,,,,,15,",
      "h100-400g,H100 SXM,80,7b,8,ulysses,sharded,full,refused,,,,,,,,,,,invalid degree: 3",
    ]);
  });
});
