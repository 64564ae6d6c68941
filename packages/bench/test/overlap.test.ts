import { clusterOf } from "@hsap/cluster";
import { run } from "@hsap/engine";
import { accountOf, isCommunication, opAt, type Problem } from "@hsap/schedule";
import { packedBatch } from "@hsap/workload";
import { describe, expect, it } from "vitest";
import { compileWith } from "../src/compiled.ts";
import { transfersOf } from "../src/engine/overlap.ts";
import { strategies } from "../src/strategies.ts";

describe("the transfers of a schedule by themselves", () => {
  const parallel = strategies.filter(({ name }) => name !== "reference");
  it.each(parallel.map((strategy) => [strategy.name, strategy] as const))(
    "have all of its bytes and none of its computation, and run to their end: %s",
    async (_, strategy) => {
      const problem: Problem = {
        batch: packedBatch([40, 7, 90]),
        shape: { heads: 8, kvHeads: 4, headDim: 16, dtype: "bf16" },
        cluster: clusterOf({ ranks: 4, ranksPerNode: 2 }),
        mask: "causal",
        pass: "forward",
      };
      const { schedule } = compileWith(strategy, problem);
      const transfers = transfersOf(schedule);
      expect(accountOf(transfers).receivedBytes).toEqual(accountOf(schedule).receivedBytes);
      expect(accountOf(transfers).groups).toEqual(accountOf(schedule).groups);
      for (let row = 0; row < transfers.ops.kind.length; row++) {
        expect(isCommunication(opAt(transfers, row).kind)).toBe(true);
      }
      const { trace } = await run(transfers);
      expect(trace.endUs).toHaveLength(transfers.ops.kind.length);
    },
  );
});
