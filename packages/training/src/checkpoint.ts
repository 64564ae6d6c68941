import { closeSync, fsyncSync, openSync, readFileSync, renameSync, unlinkSync, writeSync } from "node:fs";
import { parametersOf } from "@hsap/model";
import { decodeTables, encodeTables } from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import { elementsOf, type ModelTensors, roundedTo, weightsOf } from "./parameters.ts";
import { dtypeOf, type TrainingData, type TrainingState } from "./training-run.ts";

/** What a checkpoint says besides its columns. */
interface Metadata {
  readonly form: "checkpoint";
  readonly step: number;
  readonly data: TrainingData;
}

/**
 * Writes a run's state. The file appears whole or not at all: it is written beside, brought to the disk, and then renamed, so that an
 * interruption leaves the checkpoint before.
 *
 * @throws InputError if the file cannot be written.
 */
export function saveCheckpoint(file: string, state: TrainingState, data: TrainingData): void {
  const { model, mix, tokens, seed } = data;
  const metadata: Metadata = {
    ...{ form: "checkpoint", step: state.step, data: { model, mix, tokens, seed, dtype: dtypeOf(data) } },
  };
  const bytes = encodeTables(
    { weights: bitsOf(state.weights), first: bitsOf(state.first), second: bitsOf(state.second) },
    metadata,
  );
  const beside = `${file}.${process.pid}.part`;
  try {
    const handle = openSync(beside, "w");
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(handle, bytes, at, Math.min(2 ** 30, bytes.length - at));
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
    renameSync(beside, file);
  } catch (error) {
    try {
      unlinkSync(beside);
    } catch {
      // It may not have been made at all.
    }
    throw new InputError(`unwritable checkpoint: ${file} (${(error as Error).message})`);
  }
}

/**
 * Reads a state that `saveCheckpoint` wrote, and what it was trained on.
 *
 * @throws InputError if the file cannot be read, is damaged, or is no checkpoint.
 */
export function readCheckpoint(file: string): { state: TrainingState; data: TrainingData } {
  let source: Uint8Array;
  try {
    source = readFileSync(file);
  } catch (error) {
    throw new InputError(`unreadable checkpoint: ${file} (${(error as Error).message})`);
  }
  const { tables, metadata } = decodeTables(source);
  const { form, step, data } = (metadata ?? {}) as Partial<Metadata>;
  if (form !== "checkpoint" || data === undefined || !Number.isInteger(step))
    throw new InputError(`not a checkpoint: ${file} (its form is ${String(form)})`);
  const tensors = (name: string): ModelTensors =>
    new Map(
      weightsOf(data.model).map(({ key, weight }) => {
        const bits = tables[name]?.[key];
        if (!(bits instanceof Int32Array) || bits.length !== elementsOf(data.model, weight))
          throw new InputError(`damaged checkpoint: ${file} has no ${name}.${key} of ${data.model.name}`);
        // A copy, as training changes it in place.
        return [key, new Float32Array(Int32Array.from(bits).buffer)];
      }),
    );
  const weights = tensors("weights");
  const state = {
    step: step as number,
    weights,
    stored: roundedTo(dtypeOf(data), weights),
    first: tensors("first"),
    second: tensors("second"),
  };
  // One that was written before there was a choice does not say it.
  return { state, data: { ...data, dtype: dtypeOf(data) } };
}

/** Bytes that a checkpoint of a model takes: three numbers for each weight, and a little. */
export const checkpointBytes = ({ model }: TrainingData): number => 12 * parametersOf(model);

/** The container has no columns of fp32; their bits are as good. */
const bitsOf = (tensors: ModelTensors): Record<string, Int32Array> =>
  Object.fromEntries(
    [...tensors].map(([key, { buffer, byteOffset, length }]) => [key, new Int32Array(buffer, byteOffset, length)]),
  );
