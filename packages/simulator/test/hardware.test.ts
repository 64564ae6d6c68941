import { readdirSync, readFileSync } from "node:fs";
import { presetCluster, presetNames } from "@hsap/cluster";
import { describe, expect, it } from "vitest";
import { hardwareOf, isOwnHardware, parseHardware, publishedRows, sourcesIn } from "../src/index.ts";

const directory = new URL("../hardware/", import.meta.url);
const files = readdirSync(directory);
const textOf = (file: string) => readFileSync(new URL(file, directory), "utf8");

/** Paths of all numbers, without what is inside of a `{ value, source }`. */
function bareNumbers(value: unknown, path = ""): string[] {
  if (typeof value === "number") return [path];
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => bareNumbers(inner, path === "" ? key : `${path}.${key}`));
}

describe("hardware files", () => {
  it("give the source of every number", () => {
    for (const file of files) {
      const numbers = bareNumbers(parseHardware(textOf(file), file));
      const sources = sourcesIn(textOf(file));
      for (const path of numbers) {
        const covered = Object.keys(sources).some((source) => path === source || path.startsWith(`${source}.`));
        expect(covered, `${file}: ${path}`).toBe(true);
      }
      expect(numbers.length).toBeGreaterThan(20);
    }
  });

  it("are found by the device's name: one for each of the presets' devices", () => {
    for (const name of presetNames().filter((preset) => preset !== "local")) {
      const cluster = presetCluster(name);
      expect(isOwnHardware(hardwareOf(cluster), cluster), name).toBe(true);
    }
    expect(hardwareOf(presetCluster("a100-200g"))).not.toEqual(hardwareOf(presetCluster("h100-400g")));
    expect(Object.keys(hardwareOf(presetCluster("a100-200g")).kernels)[0]).toBe("flash-attention-2");
    expect(Object.keys(hardwareOf(presetCluster("local")).kernels)).toEqual(["engine"]);
  });

  it("are found by the element type for devices that none names", () => {
    const h100 = presetCluster("h100-400g");
    const other = { ...h100, device: { ...h100.device, name: "H999" } };
    expect(hardwareOf(other)).toBe(hardwareOf(h100));
    expect(isOwnHardware(hardwareOf(other), other)).toBe(false);
  });

  it("take what they leave out from the file that they are based on", () => {
    const [own, base] = ["a100-200g", "h100-400g"].map((name) => hardwareOf(presetCluster(name)));
    expect(own.libraries).toEqual(base.libraries);
    expect(own.kernels["flash-attention-2"].forward.launchUs).toBe(base.kernels["flash-attention-2"].forward.launchUs);
    expect(own.kernels["flash-attention-2"].forward.shareOfPeak).toBe(0.73);
    expect(() => parseHardware("base: h999", "mine.yaml")).toThrow("unknown base: h999");
  });

  it("are refused in one line that names the file and the place", () => {
    const broken = textOf("h100.yaml").replace("shareOfPeak: { value: 0.692", "shareOfPeak: { value: -1");
    expect(() => parseHardware(broken, "mine.yaml")).toThrow(
      /^invalid hardware file: mine\.yaml at kernels\.flash-attention-3\.forward\.shareOfPeak \(/,
    );
  });
});

describe("published rows", () => {
  it("are 64: eight systems, two masks, two passes, two numbers of ranks", () => {
    const rows = publishedRows();
    expect(rows).toHaveLength(64);
    expect(new Set(rows.map(({ system }) => system)).size).toBe(8);
    expect(rows[0]).toEqual({
      device: "h100",
      mask: "causal",
      pass: "backward",
      ranks: 8,
      system: "ulysses",
      tflopsPerDevice: 582,
    });
  });
});
