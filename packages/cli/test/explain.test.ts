import { expect, it } from "vitest";
import { hsap } from "./captured-run.ts";

const nodes = "--cluster h100-400g --ranks-per-node 4 --heads 16 --kv-heads 8 --head-dim 128 --dtype bf16";

it("explains what was weighed, what was cut and how far the bounds are", async () => {
  const { exitCode, out } = await hsap(`compile --explain --docs 60000,3000,2000,500,36 --ranks 8 ${nodes}`);
  expect(exitCode).toBe(0);
  expect(out).toMatch(/^ {2}chosen: heads .* ms predicted, of which ranks compute .* ms on average/m);
  expect(out).toMatch(/^ {2}whole on one rank: \d+ documents of \d+ tokens; nothing of them travels$/m);
  expect(out).toMatch(/^ {2}document 0, 60000 tokens: 2 nodes, \d of 8 ranks$/m);
  expect(out).toMatch(/^ {2}compute floor: .* ms; simulated, the schedule takes .* ms, 1\.\d\d times that$/m);
});

it("gives the explanation as JSON, the chosen way first and the fastest", async () => {
  const { out } = await hsap(
    `compile --explain --json --pass backward --docs 60000,3000,2000,500,36 --ranks 8 ${nodes}`,
  );
  const { explanation, degrees, compileMs } = JSON.parse(out);
  expect(explanation.considered[0].degrees).toEqual(degrees);
  for (const { predictedMs } of explanation.considered) {
    expect(predictedMs).toBeGreaterThanOrEqual(explanation.considered[0].predictedMs);
  }
  const { whole, insideNode, acrossNodes } = explanation.cuts;
  expect(whole.documents + insideNode.documents + acrossNodes.documents).toBe(5);
  expect(whole.tokens + insideNode.tokens + acrossNodes.tokens).toBe(65536);
  expect(explanation.simulatedMs).toBeGreaterThan(explanation.bounds.computeFloorMs);
  expect(compileMs).toBeGreaterThan(0);
});

it("explains hsap's schedules only", async () => {
  const { exitCode, err } = await hsap("compile --explain --strategy ring --docs 64,64 --ranks 4");
  expect([exitCode, err]).toEqual([2, "hsap: invalid explain: ring (only hsap weighs schedules)\n"]);
});
