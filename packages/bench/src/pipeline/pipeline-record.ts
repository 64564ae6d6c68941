import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { decodeSchedule, encodeSchedule, type Trace } from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import { z } from "zod";
import type { PipelineStep } from "./measured-pipeline.ts";

const span = z.strictObject({ beginMs: z.number(), endMs: z.number() });

const recordSchema = z.strictObject({
  schema: z.literal("hsap-pipeline/1"),
  /** The id of a record in `environment.json`. */
  environment: z.string(),
  steps: z.array(
    z.strictObject({
      compile: span,
      execute: span,
      /** The schedule's binary form, beside this file. */
      schedule: z.string(),
      /** Columns aligned with the schedule's ops. */
      trace: z.strictObject({
        origin: z.literal("measured"),
        beginUs: z.array(z.number()),
        endUs: z.array(z.number()),
        busyUs: z.array(z.number()),
        durationUs: z.number(),
      }),
    }),
  ),
});

/** Writes a measured pipeline as `pipeline.json` and one schedule a step into `folder`, and replaces what was there. */
export function writePipeline(folder: string, environment: string, steps: readonly PipelineStep[]): void {
  mkdirSync(folder, { recursive: true });
  const record = {
    schema: "hsap-pipeline/1",
    environment,
    steps: steps.map(({ compile, execute, schedule, trace }, index) => {
      const file = `step-${index}.schedule`;
      writeFileSync(join(folder, file), encodeSchedule(schedule));
      const { origin, durationUs } = trace;
      const columns = { beginUs: tenths(trace.beginUs), endUs: tenths(trace.endUs), busyUs: tenths(trace.busyUs) };
      return { compile, execute, schedule: file, trace: { origin, ...columns, durationUs } };
    }),
  };
  writeFileSync(join(folder, "pipeline.json"), `${JSON.stringify(record)}\n`);
}

/**
 * Reads what `writePipeline` wrote; no steps where there is nothing.
 *
 * @throws InputError if the files hold anything else.
 */
export function readPipeline(folder: string): PipelineStep[] {
  const file = join(folder, "pipeline.json");
  if (!existsSync(file)) return [];
  const record = recordSchema.safeParse(parsed(file));
  if (!record.success) throw new InputError(`invalid pipeline: ${file} (${record.error.issues[0].message})`);
  return record.data.steps.map(({ compile, execute, schedule: name, trace }) => {
    const schedule = decodeSchedule(readFileSync(join(folder, name)));
    const ops = schedule.ops.kind.length;
    if (trace.beginUs.length !== ops) {
      throw new InputError(`invalid pipeline: ${file} (${name} has ${ops} ops, its trace ${trace.beginUs.length})`);
    }
    return { compile, execute, schedule, trace: withColumns(trace) };
  });
}

type TraceRecord = z.infer<typeof recordSchema>["steps"][number]["trace"];

function withColumns({ origin, beginUs, endUs, busyUs, durationUs }: TraceRecord): Trace {
  return {
    origin,
    beginUs: Float64Array.from(beginUs),
    endUs: Float64Array.from(endUs),
    busyUs: Float64Array.from(busyUs),
    durationUs,
  };
}

/** A tenth of a microsecond is finer than the clock is steady. */
function tenths(values: Float64Array): number[] {
  return Array.from(values, (value) => Math.round(value * 10) / 10);
}

function parsed(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    throw new InputError(`invalid JSON: ${file} (run the experiment again)`);
  }
}
