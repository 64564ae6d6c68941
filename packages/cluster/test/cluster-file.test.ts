import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { InputError } from "@hsap/workload";
import { describe, expect, it } from "vitest";
import { parseCluster, readCluster } from "../src/index.ts";

const valid = `
name: two nodes
levels:
  - name: nvlink
    size: 8
    bandwidthGBps: { value: 374, source: measured }
    latencyUs: 11.8
  - { name: network, size: 2, bandwidthGBps: 48.5, latencyUs: 22.4 }
device:
  name: H100
  dtype: bf16
  peakTflops: { value: 989, source: datasheet }
`;

describe("a cluster file", () => {
  it("describes a cluster, with the source of a number beside it", () => {
    expect(parseCluster(valid, "x.yaml")).toEqual({
      name: "two nodes",
      levels: [
        { name: "nvlink", size: 8, bandwidthGBps: 374, latencyUs: 11.8, sources: { bandwidthGBps: "measured" } },
        { name: "network", size: 2, bandwidthGBps: 48.5, latencyUs: 22.4 },
      ],
      ranks: 16,
      device: { name: "H100", dtype: "bf16", peakTflops: 989, sources: { peakTflops: "datasheet" } },
    });
  });

  it("may say how many ranks share a link, and what one pair of them gets of it alone", () => {
    const shared = changed("latencyUs: 22.4", "latencyUs: 22.4, ranksPerLink: 8, pairGBps: 200");
    expect(parseCluster(shared, "x.yaml").levels[1]).toMatchObject({ ranksPerLink: 8, pairGBps: 200 });
    const none = changed("latencyUs: 22.4", "latencyUs: 22.4, ranksPerLink: 0");
    expect(() => parseCluster(none, "x.yaml")).toThrow("invalid levels[1].ranksPerLink: 0 in x.yaml");
  });

  it("may leave the last node partly used", () => {
    expect(parseCluster(`${valid}ranks: 12\n`, "x.yaml").ranks).toBe(12);
  });

  it.each([
    ["", "invalid cluster: null in x.yaml (must be a map with name, levels and device)"],
    ["- a", 'invalid cluster: ["a"] in x.yaml (must be a map with name, levels and device)'],
    [`${valid}ranks: 17`, "invalid ranks: 17 in x.yaml (the levels hold 16)"],
    [`${valid}ranks: 1.5`, "invalid ranks: 1.5 in x.yaml (must be a whole number of at least 1)"],
    [`${valid}nodes: 2`, "unknown key: nodes in x.yaml (remove it or correct its name)"],
    [changed("size: 8", "size: 0"), "invalid levels[0].size: 0 in x.yaml (must be a whole number of at least 1)"],
    [changed("size: 8", "sizes: 8"), "missing levels[0].size: x.yaml (must be a whole number of at least 1)"],
    [
      changed("value: 374", "value: fast"),
      'invalid levels[0].bandwidthGBps: "fast" in x.yaml (must be a number above 0)',
    ],
    [
      changed("bandwidthGBps: 48.5", "bandwidthGBps: -1"),
      "invalid levels[1].bandwidthGBps: -1 in x.yaml (must be a number above 0)",
    ],
    [
      changed("latencyUs: 22.4", "latencyUs: .nan"),
      "invalid levels[1].latencyUs: null in x.yaml (must be a number of at least 0)",
    ],
    [changed("dtype: bf16", "dtype: int8"), 'invalid device.dtype: "int8" in x.yaml (must be fp32 or bf16)'],
    [changed("  name: H100\n", ""), "missing device.name: x.yaml (must be a name)"],
    [
      valid.replace(/levels:[\s\S]*device/, "levels: []\ndevice"),
      "invalid levels: [] in x.yaml (must be a list of at least 1 level)",
    ],
  ])("is refused in one line with file, path and value: case %#", (text, message) => {
    expect(() => parseCluster(text, "x.yaml")).toThrow(new InputError(message));
  });

  it.each(["a: [", "a: 1\na: 2", "\tx"])("is refused in one line if it is not YAML: %j", (text) => {
    expect(() => parseCluster(text, "x.yaml")).toThrow(/^invalid YAML: x\.yaml \([^\n]+\)$/);
  });

  it("is read from disk, and refused in one line if it cannot be", () => {
    const directory = mkdtempSync(path.join(tmpdir(), "hsap-cluster-"));
    try {
      writeFileSync(path.join(directory, "x.yaml"), valid);
      expect(readCluster(path.join(directory, "x.yaml")).name).toBe("two nodes");
      expect(() => readCluster(path.join(directory, "y.yaml"))).toThrow(
        /^unreadable cluster file: .*y\.yaml \(ENOENT[^\n]*\)$/,
      );
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  function changed(from: string, to: string): string {
    expect(valid).toContain(from);
    return valid.replace(from, to);
  }
});
