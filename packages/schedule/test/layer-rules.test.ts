import { describe, expect, it } from "vitest";
import {
  decodeSchedule,
  encodeSchedule,
  formatSchedule,
  layerOpKinds,
  opKinds,
  parseSchedule,
  peakBytesOf,
  verify,
} from "../src/index.ts";

/**
 * y = x + x w on two ranks that each have half of the columns of x's second copy: a row-parallel product, reduce-scattered. Rank 0 owns
 * tokens 0:4, rank 1 tokens 4:6.
 */
const rowParallel = `
hsap schedule 1
problem forward causal heads=2 kvHeads=2 headDim=4 dtype=fp32
documents 6
cluster {"name":"two","levels":[{"name":"node","size":2,"bandwidthGBps":1,"latencyUs":1}],"ranks":2,"device":{"name":"d","peakTflops":1,"dtype":"fp32"}}
strategy hand-made
degrees tensor=2
tensor x heads=1 width=8 dtype=fp32 role=input accumulates=no
tensor g heads=1 width=1 rows=8 dtype=fp32 role=input accumulates=no
tensor a heads=2 width=4 dtype=fp32 role=input accumulates=no
tensor w heads=1 width=8 rows=8 dtype=fp32 role=input accumulates=no
tensor y heads=1 width=8 dtype=fp32 role=output accumulates=yes
tensor n heads=1 width=8 dtype=fp32 role=output accumulates=no
equation y = add x
equation y = linear a w
equation n = rmsNorm y g
owns 0: 0:4
owns 1: 4:6
holds 0: a[0:6 h0:1] w[0:4 h0:1] g[0:8 h0:1]
holds 1: a[0:6 h1:2] w[4:8 h0:1] g[0:8 h0:1]
rank 0
  linear a[0:6 h0:1] w[0:4 h0:1] -> y#1[0:6 h0:1]
  group 0 reduceScatter
    send y#1[4:6 h0:1] -> 1
    recv y#2[0:4 h0:1] <- 1
  add x[0:4 h0:1] -> y[0:4 h0:1]
  reduce y[0:4 h0:1] <- y#1[0:4 h0:1] y#2[0:4 h0:1]
  rmsNorm y[0:4 h0:1] g[0:8 h0:1] -> n[0:4 h0:1]
rank 1
  linear a[0:6 h1:2] w[4:8 h0:1] -> y#2[0:6 h0:1]
  group 0 reduceScatter
    send y#2[0:4 h0:1] -> 0
    recv y#1[4:6 h0:1] <- 0
  add x[4:6 h0:1] -> y[4:6 h0:1]
  reduce y[4:6 h0:1] <- y#1[4:6 h0:1] y#2[4:6 h0:1]
  rmsNorm y[4:6 h0:1] g[0:8 h0:1] -> n[4:6 h0:1]
`;

const findings = (text: string): string[] => verify(parseSchedule(text)).map(({ message }) => message);

/** The findings after one change, which must be one. */
function changed(from: string, to: string): string {
  const text = rowParallel.replace(from, to);
  expect(text).not.toEqual(rowParallel);
  return findings(text).join("\n");
}

describe("the rules of a layer", () => {
  it("find nothing wrong with a row-parallel product that is reduce-scattered", () => {
    expect(findings(rowParallel)).toEqual([]);
  });

  it("keep the schedule through its text and binary form, and give its rows memory", () => {
    const schedule = parseSchedule(rowParallel);
    expect(parseSchedule(formatSchedule(schedule))).toEqual(schedule);
    expect(decodeSchedule(encodeSchedule(schedule))).toEqual(schedule);
    expect(Math.min(...peakBytesOf(schedule))).toBeGreaterThan(4 * (6 * 8 + 6 * 4 + 4 * 8 + 8));
  });

  it.each([
    [
      "a sum that lacks a rank's share",
      "y#1[0:4 h0:1] y#2[0:4 h0:1]",
      "y#1[0:4 h0:1]",
      /coverage: rank 0.*lacks 4:8 of linear a w/,
    ],
    [
      "a share that is added twice",
      "y#1[0:4 h0:1] y#2[0:4 h0:1]",
      "y#1[0:4 h0:1] y#2[0:4 h0:1] y#1[0:4 h0:1]",
      /coverage: rank 0.*complete already/,
    ],
    ["a residual that is missing", "  add x[0:4 h0:1] -> y[0:4 h0:1]\n", "", /coverage: rank 0.*lacks 0:1 of add x/],
    [
      "a residual that is added twice",
      "  add x[4:6 h0:1]",
      "  add x[4:6 h0:1] -> y[4:6 h0:1]\n  add x[4:6 h0:1]",
      /coverage: rank 1.*0:1 of add x twice/,
    ],
    [
      "a partial sum that is read",
      "rmsNorm y[0:4",
      "rmsNorm y#1[0:4",
      /availability: rank 0, op \d \(rmsNorm\), y#1.*is a partial sum/,
    ],
    [
      "rows that are not there",
      "linear a[0:6 h0:1] w[0:4 h0:1]",
      "linear a[0:6 h1:2] w[4:8 h0:1]",
      /availability: rank 0.*is not held/,
    ],
    [
      "columns that do not fit the rows of the weight",
      "w[0:4 h0:1] -> y#1",
      "w[0:3 h0:1] -> y#1",
      /availability: rank 0.*w\[0:3 h0:1\].*not the rows of columns 0:4/,
    ],
    [
      "gains for some columns only",
      "g[0:8 h0:1] -> n[0:4",
      "g[0:4 h0:1] -> n[0:4",
      /availability: rank 0.*must have a row for each of 8 columns/,
    ],
    [
      "an output that nobody computes",
      "  rmsNorm y[4:6 h0:1] g[0:8 h0:1] -> n[4:6 h0:1]\n",
      "",
      /coverage: rank 1, n\[4:6 h0:1\]: is computed by nobody/,
    ],
    ["an op that no equation asks for", "rmsNorm y[4:6", "rmsNorm x[4:6", /coverage: rank 1.*no equation asks for it/],
    [
      "an input that is written",
      "-> n[4:6 h0:1]",
      "-> x[4:6 h0:1]",
      /availability: rank 1.*an input cannot be written/,
    ],
    [
      "an equation that nobody follows",
      "equation y = linear a w",
      "equation y = linear a w\nequation n = add x",
      /lacks 0:1 of add x/,
    ],
    [
      "a second home of the same rows",
      "holds 1: a[0:6 h1:2]",
      "holds 0: g[0:8 h0:1]\nholds 1: a[0:6 h1:2] n[0:2 h0:1]",
      /ownership|coverage|availability/,
    ],
  ])("find %s", (_, from, to, message) => {
    expect(changed(from, to)).toMatch(message);
  });

  it("refuse an equation with other operands than its op has", () => {
    expect(() => parseSchedule(rowParallel.replace("y = linear a w", "y = linear a"))).toThrow(
      /line \d+: invalid equation: y = linear a \(must be 1 tensors = linear and 2 tensors\)/,
    );
  });

  it("have codes that stand behind those of attention", () => {
    expect(opKinds.indexOf("linear")).toBe(10);
    expect(opKinds.length).toBe(10 + layerOpKinds.length);
  });
});
