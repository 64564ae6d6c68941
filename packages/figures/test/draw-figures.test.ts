import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { drawFigures } from "../src/index.ts";
import { sampleInputs } from "./sample-inputs.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hsap-figures-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("drawFigures", () => {
  it("writes each figure in each format, with its data beside it, and nothing else", () => {
    const outDir = join(folder, "new", "figures");
    const files = drawFigures({ inputs: sampleInputs(), outDir, formats: ["svg", "png"] });
    expect(files.map((file) => basename(file))).toEqual([
      "figure-1-packing.svg",
      "figure-1-packing.png",
      "figure-1-packing.csv",
      "figure-2-pipeline.svg",
      "figure-2-pipeline.png",
      "figure-2-pipeline.csv",
      "figure-3-compilation.svg",
      "figure-3-compilation.png",
      "figure-3-compilation.json",
      "figure-4-topology.svg",
      "figure-4-topology.png",
      "figure-4-topology.json",
      "figure-5-evaluation.svg",
      "figure-5-evaluation.png",
      "figure-5-evaluation.csv",
    ]);
    expect(readdirSync(outDir).sort()).toEqual(files.map((file) => basename(file)).sort());
    expect(readFileSync(files[0], "utf8")).toMatch(/^<svg [\s\S]*<\/svg>\n$/);
  });

  it("draws only what it has data for", () => {
    const { topology } = sampleInputs();
    const files = drawFigures({ inputs: { topology }, outDir: folder, formats: ["svg"] });
    expect(files.map((file) => basename(file))).toEqual(["figure-4-topology.svg", "figure-4-topology.json"]);
  });

  it("writes nothing when one of the inputs cannot be drawn", () => {
    const inputs = { ...sampleInputs(), evaluation: { trials: [], machine: "none" } };
    expect(() => drawFigures({ inputs, outDir: folder, formats: ["svg"] })).toThrow("invalid trials");
    expect(readdirSync(folder)).toEqual([]);
  });
});
