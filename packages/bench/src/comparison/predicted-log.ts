import { renameSync, writeFileSync } from "node:fs";
import type { Pass } from "@hsap/schedule";
import { z } from "zod";
import { simulationEnvironment } from "../results/environment.ts";
import { readLog, TrialWriter } from "../results/trial-log.ts";
import type { PredictedPack } from "./predicted-packs.ts";

const schema = "hsap-predicted-pack/1";

const scheduleSchema = z.strictObject({
  strategy: z.string(),
  degrees: z.record(z.string(), z.number()),
  stepMs: z.number(),
  tflopsPerDevice: z.number(),
});

const recordSchema = z.strictObject({
  schema: z.literal(schema),
  /** Digest of the code that predicted it. */
  code: z.string(),
  /** What hsap was compared with. */
  strategies: z.array(z.string()),
  name: z.string(),
  ranks: z.int(),
  pass: z.enum(["forward", "backward"]),
  kvHeads: z.int(),
  floorMs: z.number(),
  hsap: scheduleSchema,
  others: z.array(scheduleSchema),
});

/**
 * Predictions in a JSONL file, one a line and written as they are made, so that an interrupted run goes on where it stopped. Only those of
 * the same code and the same strategies count; what others the file had is dropped from it when it is opened.
 */
export class PredictedLog {
  /** How many predictions of other code or strategies were dropped. */
  readonly stale: number;
  readonly #known = new Map<string, PredictedPack>();
  readonly #writer: TrialWriter<z.infer<typeof recordSchema>>;
  readonly #key: { readonly code: string; readonly strategies: readonly string[] };

  /** @throws InputError if the file has a line that is no prediction. */
  constructor(file: string, strategies: readonly string[], code = simulationEnvironment([]).code) {
    this.#key = { code, strategies: [...strategies].sort() };
    const { trials } = readLog(file, recordSchema, schema);
    const current = trials.filter(
      (record) => record.code === code && `${record.strategies}` === `${this.#key.strategies}`,
    );
    this.stale = trials.length - current.length;
    if (this.stale > 0) keepLines(file, current);
    for (const { schema: _, code: __, strategies: ___, ...pack } of current) this.#known.set(keyOf(pack), pack);
    this.#writer = new TrialWriter(file);
  }

  known(name: string, pass: Pass, kvHeads: number): PredictedPack | undefined {
    return this.#known.get(keyOf({ name, pass, kvHeads }));
  }

  /** How many predictions are known. */
  get size(): number {
    return this.#known.size;
  }

  append(pack: PredictedPack): void {
    const { code, strategies } = this.#key;
    this.#writer.append({ schema, code, strategies: [...strategies], ...pack, others: [...pack.others] });
    this.#known.set(keyOf(pack), pack);
  }

  close(): void {
    this.#writer.close();
  }
}

const keyOf = ({ name, pass, kvHeads }: Pick<PredictedPack, "name" | "pass" | "kvHeads">) =>
  `${name} ${pass} ${kvHeads}`;

/** Replaces the file in one step. */
function keepLines(file: string, records: readonly object[]): void {
  writeFileSync(`${file}.new`, records.map((record) => `${JSON.stringify(record)}\n`).join(""));
  renameSync(`${file}.new`, file);
}
