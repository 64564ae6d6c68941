import type { CompileTimes } from "@hsap/bench";
import { describe, expect, it } from "vitest";
import { drawCompileTimes } from "../src/index.ts";
import { marksOf, overlappingTexts, parseSvg, textBoxes } from "./drawn.ts";

const mixes = ["hybrid", "code", "single"];

/** As if times grew with ranks; a backward pass takes twice as long. */
const timesOf = (ranks: number, mix: string, pass: "forward" | "backward"): CompileTimes => {
  const at = (ms: number) => ({ p50: ms * ranks * (pass === "backward" ? 2 : 1), p95: 3 * ms * ranks });
  return {
    ...{ pack: `${mix}-${ranks}`, pass, ranks, documents: mix === "single" ? 1 : 5 * ranks, tokens: 8192 * ranks },
    ...{ degrees: { ulysses: 1, sap: ranks }, ops: 100 * ranks, bytes: 9000 * ranks },
    compileMs: { first: at(2), cold: at(0.04), degrees: at(0.001), plan: at(0.01), rank: at(0.02), cached: at(0.0001) },
  };
};

const rows = [8, 64, 1024].flatMap((ranks) =>
  mixes.flatMap((mix) => (["forward", "backward"] as const).map((pass) => timesOf(ranks, mix, pass))),
);
const draw = (of: readonly CompileTimes[]) =>
  drawCompileTimes({ strategy: "hsap", processor: "a processor", rows: of });

describe("the figure of compile times", () => {
  it.each([
    ["many packs", rows],
    ["one pack", rows.slice(0, 1)],
    ["a strategy without parts", rows.map((row) => ({ ...row, compileMs: { cold: row.compileMs.cold } as const }))],
  ] as const)("keeps its texts on the page and apart, and has every coordinate: %s", (_, of) => {
    const svg = draw(of as readonly CompileTimes[]);
    expect(overlappingTexts(textBoxes(svg))).toEqual([]);
    const [x, y, width, height] = (parseSvg(svg).getAttribute("viewBox") ?? "").split(" ").map(Number);
    const outside = textBoxes(svg).filter(
      ({ left, right, top, bottom }) => left < x || right > x + width || top < y || bottom > y + height,
    );
    expect(outside).toEqual([]);
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
  });

  it("has a dot for each pack by ranks and by documents, and one for each rank count of the mix whose parts it shows", () => {
    expect(marksOf(draw(rows), "dot", "circle").length).toBe(2 * 9 + 3);
  });

  it("names mixes, parts, and what the times were measured on", () => {
    const texts = textBoxes(draw(rows)).map(({ text }) => text);
    for (const name of [...mixes, "all programs", "one rank's program", "cached", "aim"]) expect(texts).toContain(name);
    expect(parseSvg(draw(rows)).querySelector("desc")?.textContent).toMatch(
      /^Measured on one core of a processor.*8 to 1,024 ranks, 1 to 5,120 documents, up to 8,388,608 tokens\.$/,
    );
  });

  it("is not drawn of nothing", () => {
    expect(() => draw([])).toThrow("invalid compile times: there are none");
  });
});
