import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { InputError } from "@hsap/workload";
import { afterEach, describe, expect, it } from "vitest";
import { AheadCompiler, hsap, ScheduleCache } from "../src/index.ts";
import { digestOf } from "./digest.ts";
import { problemOf } from "./problems.ts";

const problem = problemOf({
  lengths: [900, 40, 300, 5, 77, 2000],
  ranks: 8,
  ranksPerNode: 4,
  shape: { heads: 8, kvHeads: 4 },
  pass: "backward",
});
const requests = hsap
  .candidateDegrees(problem)
  .flatMap((degrees) => ["balanced", "contiguous"].map((shard) => ({ problem, degrees, options: { shard } })));

const open: AheadCompiler[] = [];
const started = (compiler = new AheadCompiler()) => {
  open.push(compiler);
  return compiler;
};
afterEach(async () => {
  for (const compiler of open.splice(0)) await compiler.close();
});

describe("compiling ahead", () => {
  it("gives the very schedules that compiling at once does, whatever was compiled in between", async () => {
    const compiler = started();
    const schedules = await Promise.all(requests.map((request) => compiler.compile(request)));
    expect(schedules.map(digestOf)).toEqual(
      requests.map(({ degrees, options }) => digestOf(hsap.compile(problem, degrees, options))),
    );
    const chosen = await compiler.compile({ problem });
    expect(digestOf(chosen)).toBe(digestOf(hsap.compile(problem, hsap.defaultDegrees(problem))));
  });

  it("gives the schedules that another process makes", () => {
    const program = fileURLToPath(new URL("digest-process.mjs", import.meta.url));
    const digests = execFileSync(process.execPath, [program, JSON.stringify(requests, asArrays)], { encoding: "utf8" });
    expect(JSON.parse(digests)).toEqual(
      requests.map(({ degrees, options }) => digestOf(hsap.compile(problem, degrees, options))),
    );
  });

  it("hands over memory instead of copying it, and keeps what it compiled", async () => {
    const cache = new ScheduleCache();
    const compiler = started(new AheadCompiler({ cache }));
    const schedule = await compiler.compile(requests[0]);
    expect(schedule.blocks.part.buffer).toBe(schedule.ops.operands.buffer);
    expect(await compiler.compile(requests[0])).toBe(schedule);
    expect(cache.compile(requests[0])).toBe(schedule);
  });

  it("lets the caller change the batch at once", async () => {
    const compiler = started();
    const own = { ...problem, batch: { cuSeqlens: problem.batch.cuSeqlens.slice() } };
    const answer = compiler.compile({ ...requests[0], problem: own });
    own.batch.cuSeqlens.fill(0);
    expect(digestOf(await answer)).toBe(digestOf(hsap.compile(problem, requests[0].degrees)));
  });

  it("rejects bad input as compiling at once does, and goes on", async () => {
    const compiler = started();
    const bad = compiler.compile({ problem, degrees: { ulysses: 3, sap: 3 } });
    const good = compiler.compile(requests[0]);
    await expect(bad).rejects.toThrow("invalid degrees: ulysses=3,sap=3 (must multiply to 8 ranks)");
    await expect(bad).rejects.toBeInstanceOf(InputError);
    expect(digestOf(await good)).toBe(digestOf(hsap.compile(problem, requests[0].degrees)));
  });

  it("rejects what is not finished when it is closed, and what comes later", async () => {
    const compiler = started();
    const unfinished = compiler.compile(requests[0]);
    const rejected = expect(unfinished).rejects.toThrow("compiler closed: the schedule was not finished");
    await compiler.close();
    await rejected;
    await expect(compiler.compile(requests[0])).rejects.toThrow("compiler closed: it takes no more requests");
  });

  it("lets a process end that does not close it", () => {
    const program = fileURLToPath(new URL("digest-process.mjs", import.meta.url));
    const ahead = execFileSync(process.execPath, [program, JSON.stringify(requests, asArrays), "ahead"], {
      encoding: "utf8",
      timeout: 60_000,
    });
    expect(JSON.parse(ahead)).toEqual(
      requests.map(({ degrees, options }) => digestOf(hsap.compile(problem, degrees, options))),
    );
  });
});

/** JSON has no typed arrays. */
const asArrays = (_: string, value: unknown) => (value instanceof Int32Array ? [...value] : value);
