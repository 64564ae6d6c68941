import { accountOf, areaOf } from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import { describe, expect, it } from "vitest";
import { reference } from "../src/index.ts";
import { problemOf } from "./problems.ts";

describe("reference", () => {
  it("has one tile for each document, and moves nothing", () => {
    const problem = problemOf({ lengths: [5, 1, 9], ranks: 1 });
    const { ops, receivedBytes, area } = accountOf(reference.compile(problem, {}));
    expect(ops.total).toBe(3);
    expect(receivedBytes.total).toBe(0);
    expect(area.total).toBe(areaOf(problem) * 4);
  });

  it("refuses more than one rank in one line", () => {
    const compile = () => reference.compile(problemOf({ lengths: [5], ranks: 2 }), {});
    expect(compile).toThrow(InputError);
    expect(compile).toThrow("invalid ranks: 2 (reference runs on 1 rank)");
  });
});
