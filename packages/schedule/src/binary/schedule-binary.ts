import { InputError, packedBatch } from "@hsap/workload";
import type { Block } from "../block.ts";
import type { Equation } from "../equation.ts";
import { groupKinds, isCommunication, opKinds, tileMasks } from "../op.ts";
import { checkProblem, type Problem } from "../problem.ts";
import type { BlockTable, Degrees, Layout, OpTable, Schedule } from "../schedule.ts";
import type { TensorSpec } from "../tensor.ts";
import { type Column, decodeTables, encodeTables, type Tables } from "./tables.ts";

/** What a schedule says besides its columns. */
interface Metadata {
  readonly form: "schedule";
  readonly problem: Omit<Problem, "batch">;
  readonly strategy: string;
  readonly degrees: Degrees;
  readonly tensors: readonly TensorSpec[];
  readonly resident?: readonly (readonly Block[])[];
  readonly equations?: readonly Equation[];
}

/** The binary form of a schedule; equal schedules give equal bytes. See `encodeTables` for the container. */
export function encodeSchedule({
  problem,
  strategy,
  degrees,
  layout,
  resident,
  tensors,
  equations,
  blocks,
  ops,
  opBegin,
}: Schedule): Uint8Array {
  const { batch, ...rest } = problem;
  const metadata: Metadata = {
    form: "schedule",
    problem: rest,
    strategy,
    degrees,
    tensors,
    ...(resident === undefined ? {} : { resident }),
    ...(equations === undefined ? {} : { equations }),
  };
  const ranges = layout.flat();
  const rangeBegin = new Int32Array(layout.length + 1);
  layout.forEach((owned, rank) => {
    rangeBegin[rank + 1] = rangeBegin[rank] + owned.length;
  });
  const tables = {
    batch: { cuSeqlens: batch.cuSeqlens },
    rank: { opBegin, rangeBegin },
    range: {
      begin: Int32Array.from(ranges, ({ begin }) => begin),
      end: Int32Array.from(ranges, ({ end }) => end),
    },
    blocks: { ...blocks },
    ops: { ...ops },
  };
  return encodeTables(tables, metadata);
}

/**
 * Reads what `encodeSchedule` wrote; its columns are views of `bytes` where their alignment allows it.
 *
 * @throws InputError if `decodeTables` does, or the columns do not fit together. Whether the schedule is a right one is for
 * `verify`.
 */
export function decodeSchedule(bytes: Uint8Array): Schedule {
  const { tables, metadata } = decodeTables(bytes);
  const { problem, strategy, degrees, tensors, resident, equations } = checkMetadata(metadata);
  const cuSeqlens = column(tables, "batch", "cuSeqlens", Int32Array);
  checkRising("batch.cuSeqlens", cuSeqlens);
  const batch = packedBatch(cuSeqlens.subarray(1).map((end, i) => end - cuSeqlens[i]));
  const blocks: BlockTable = {
    tensor: column(tables, "blocks", "tensor", Uint8Array),
    part: column(tables, "blocks", "part", Int32Array),
    tokenBegin: column(tables, "blocks", "tokenBegin", Int32Array),
    tokenEnd: column(tables, "blocks", "tokenEnd", Int32Array),
    headBegin: column(tables, "blocks", "headBegin", Uint16Array),
    headEnd: column(tables, "blocks", "headEnd", Uint16Array),
  };
  const ops: OpTable = {
    kind: column(tables, "ops", "kind", Uint8Array),
    attribute: column(tables, "ops", "attribute", Uint8Array),
    peer: column(tables, "ops", "peer", Int32Array),
    group: column(tables, "ops", "group", Int32Array),
    operandBegin: column(tables, "ops", "operandBegin", Int32Array),
    operands: column(tables, "ops", "operands", Int32Array),
  };
  const opBegin = column(tables, "rank", "opBegin", Int32Array);
  checkBlocks(blocks, tensors.length);
  checkOps(ops, blocks.tensor.length);
  checkOffsets("rank.opBegin", opBegin, ops.kind.length);
  const layout = readLayout(tables, opBegin.length - 1);
  const kept = resident === undefined ? {} : { resident };
  return {
    ...(equations === undefined ? {} : { equations }),
    ...{ problem: checkProblem({ batch, ...problem }), strategy, degrees, layout, ...kept, tensors },
    ...{ blocks, ops, opBegin },
  };
}

function checkMetadata(metadata: unknown): Metadata {
  const { form, problem, strategy, degrees, tensors } = (metadata ?? {}) as Partial<Metadata>;
  if (form !== "schedule") throw new InputError(`unknown form: ${String(form)} (must be schedule)`);
  const complete =
    typeof strategy === "string" &&
    typeof degrees === "object" &&
    Array.isArray(tensors) &&
    Array.isArray(problem?.cluster?.levels) &&
    typeof problem.shape === "object";
  if (!complete)
    throw new InputError(`invalid metadata: ${JSON.stringify(metadata).slice(0, 40)} (must describe a schedule)`);
  return metadata as Metadata;
}

function readLayout(tables: Tables, ranks: number): Layout {
  const rangeBegin = column(tables, "rank", "rangeBegin", Int32Array);
  const begin = column(tables, "range", "begin", Int32Array);
  const end = column(tables, "range", "end", Int32Array);
  checkLength("rank.rangeBegin", rangeBegin, ranks + 1);
  checkLength("range.end", end, begin.length);
  checkOffsets("rank.rangeBegin", rangeBegin, begin.length);
  return Array.from({ length: ranks }, (_, rank) =>
    Array.from({ length: rangeBegin[rank + 1] - rangeBegin[rank] }, (_, i) => ({
      begin: begin[rangeBegin[rank] + i],
      end: end[rangeBegin[rank] + i],
    })),
  );
}

function checkBlocks(blocks: BlockTable, tensors: number): void {
  for (const [name, values] of Object.entries(blocks)) checkLength(`blocks.${name}`, values, blocks.tensor.length);
  checkBelow("blocks.tensor", blocks.tensor, tensors);
}

function checkOps(ops: OpTable, blocks: number): void {
  const { kind, attribute, peer, group, operandBegin, operands } = ops;
  for (const [name, values] of Object.entries({ attribute, peer, group }))
    checkLength(`ops.${name}`, values, kind.length);
  checkLength("ops.operandBegin", operandBegin, kind.length + 1);
  checkOffsets("ops.operandBegin", operandBegin, operands.length);
  checkBelow("ops.kind", kind, opKinds.length);
  checkBelow("ops.operands", operands, blocks);
  const attributes = opKinds.map((name) => (isCommunication(name) ? groupKinds.length : tileMasks.length));
  const wrong = attribute.findIndex((value, i) => value >= attributes[kind[i]]);
  if (wrong >= 0)
    throw new InputError(
      `invalid ops.attribute: ${attribute[wrong]} at row ${wrong} (must be below ${attributes[kind[wrong]]})`,
    );
}

function column<T extends Column>(tables: Tables, table: string, name: string, type: new (length: number) => T): T {
  const found = tables[table]?.[name];
  if (found === undefined) throw new InputError(`missing column: ${table}.${name}`);
  if (found instanceof type) return found;
  throw new InputError(`invalid column: ${table}.${name} is a ${found.constructor.name} (must be ${type.name})`);
}

function checkLength(name: string, values: Column, length: number): void {
  if (values.length !== length) throw new InputError(`invalid length of ${name}: ${values.length} (must be ${length})`);
}

function checkBelow(name: string, values: Column, limit: number): void {
  const row = values.findIndex((value) => value < 0 || value >= limit);
  if (row >= 0) throw new InputError(`invalid ${name}: ${values[row]} at row ${row} (must be from 0 to ${limit - 1})`);
}

function checkRising(name: string, values: Column): void {
  const row = values.findIndex((value, i) => value < (values[i - 1] ?? 0));
  if (row >= 0) throw new InputError(`invalid ${name}: ${values[row]} at row ${row} (must not fall)`);
}

/** Offsets into rows of another table: from 0 to all of them, not falling. */
function checkOffsets(name: string, values: Column, rows: number): void {
  checkRising(name, values);
  if (values[0] !== 0 || values[values.length - 1] !== rows)
    throw new InputError(`invalid ${name}: ${values[0]} to ${values[values.length - 1]} (must be 0 to ${rows})`);
}
