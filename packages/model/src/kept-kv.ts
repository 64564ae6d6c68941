import {
  type Block,
  Held,
  isCommunication,
  type Op,
  opAt,
  pairTransfers,
  type Rectangle,
  type Schedule,
  ScheduleBuilder,
  worldSizeOf,
} from "@hsap/schedule";
import { appendOps } from "./append-ops.ts";

/**
 * What becomes of the keys and values of other ranks that attention's forward pass has brought: they are dropped and fetched once more by
 * the backward pass, or kept until then, so that only gradients travel.
 */
export const receivedKvs = ["fetch", "keep"] as const;
export type ReceivedKv = (typeof receivedKvs)[number];

/** The two passes of an attention strategy on one batch. */
export interface Passes {
  readonly forward: Schedule;
  readonly backward: Schedule;
}

/**
 * Both passes where every rank keeps those keys and values of the forward pass that it receives and computes with in the backward pass:
 * they are resident with it, and the transfers of the backward pass that nobody needs any more are left out, those through other ranks too.
 * What the forward pass does not bring to a rank is fetched as before. A strategy whose backward pass receives none, as Ulysses, which
 * keeps k and v as heads, stays as it is.
 */
export function withKeptKv({ forward, backward }: Passes): Passes {
  const ranks = Array.from({ length: worldSizeOf(backward) }, (_, rank) => rank);
  const brought = ranks.map((rank) => heldOf(receivedKv(forward, rank)));
  const read = ranks.map((rank) => heldOf(computedKv(backward, rank)));
  const kept = ranks.map((rank) => {
    const both = receivedKv(backward, rank).flatMap((block) => piecesIn(read[rank], block));
    return heldOf(both.flatMap((block) => piecesIn(brought[rank], block)));
  });
  const blocks = kept.map((held) => kvTensors.flatMap((tensor) => piecesIn(held, everything(tensor))));
  if (blocks.every(({ length }) => length === 0)) return { forward, backward };
  const isNeeded = neededTransfers(backward, read, kept);
  return {
    forward: { ...forward, resident: residentWith(forward, blocks) },
    backward: withoutTransfers({ ...backward, resident: residentWith(backward, blocks) }, isNeeded),
  };
}

const kvTensors = ["k", "v"] as const;
const isKv = ({ tensor, part }: Block): boolean => part === 0 && (tensor === "k" || tensor === "v");

/** Some rows of k and of v. */
type HeldKv = ReadonlyMap<string, Held>;

function heldOf(blocks: readonly Block[]): HeldKv {
  const held = new Map<string, Held>(kvTensors.map((tensor) => [tensor, new Held()]));
  for (const block of blocks) held.get(block.tensor)?.assign(block, 1);
  return held;
}

const heldIn = (held: HeldKv, { tensor }: Block): Held => held.get(tensor) ?? new Held();

/** The parts of a block that are held. */
function piecesIn(held: HeldKv, block: Block): Block[] {
  const pieces: Block[] = [];
  heldIn(held, block).read(block, (_, piece) => pieces.push({ ...block, ...piece }));
  return pieces;
}

const everything = (tensor: string): Block => ({
  ...{ tensor, part: 0, tokenBegin: 0, tokenEnd: 2 ** 31 - 1, headBegin: 0, headEnd: 2 ** 16 - 1 },
});

const receivedKv = (schedule: Schedule, rank: number): Block[] => kvOf(schedule, rank, (kind) => kind === "recv");
const computedKv = (schedule: Schedule, rank: number): Block[] =>
  kvOf(schedule, rank, (kind) => !isCommunication(kind));

function kvOf(schedule: Schedule, rank: number, chosen: (kind: Parameters<typeof isCommunication>[0]) => boolean) {
  const found: Block[] = [];
  for (let row = schedule.opBegin[rank]; row < schedule.opBegin[rank + 1]; row++) {
    const { kind, blocks } = opAt(schedule, row);
    if (chosen(kind)) found.push(...blocks.filter(isKv));
  }
  return found;
}

/**
 * What lies with each rank with what it keeps. A layer has a tensor of which any rank has resident blocks only where they say, so rows that
 * lay with their owner are named as well.
 */
function residentWith({ resident, layout, tensors }: Schedule, kept: readonly (readonly Block[])[]): Block[][] {
  const isResident = (tensor: string) =>
    (resident ?? []).some((blocks) => blocks.some((block) => block.tensor === tensor));
  const owned = kvTensors.filter((tensor) => !isResident(tensor));
  return kept.map((blocks, rank) => [
    ...(resident?.[rank] ?? []),
    ...owned.flatMap((tensor) =>
      layout[rank].map(({ begin, end }) => ({
        ...{ tensor, part: 0, tokenBegin: begin, tokenEnd: end, headBegin: 0 },
        headEnd: tensors.find(({ name }) => name === tensor)?.heads ?? 0,
      })),
    ),
    ...blocks,
  ]);
}

/**
 * The positions in `operands` of what still travels: all that is no key or value; keys and values that the receiver computes with and does
 * not keep; and those that it sends on to such a rank.
 */
function neededTransfers(schedule: Schedule, read: readonly HeldKv[], kept: readonly HeldKv[]): ReadonlySet<number> {
  const { ops, opBegin } = schedule;
  const partner = pairTransfers(schedule);
  const needed = new Set<number>();
  const receivesOf = kept.map((_, rank) => {
    const receives: { row: number; operand: number; block: Block }[] = [];
    for (let row = opBegin[rank]; row < opBegin[rank + 1]; row++) {
      const { kind, blocks } = opAt(schedule, row);
      blocks.forEach((block, i) => {
        if (kind === "recv" && isKv(block)) receives.push({ row, operand: ops.operandBegin[row] + i, block });
        if (isCommunication(kind) && !isKv(block)) needed.add(ops.operandBegin[row] + i);
      });
    }
    return receives;
  });
  const take = (rank: number, at: Rectangle & Block, before: number): void => {
    if (heldIn(kept[rank], at).read(at)) return;
    for (const { row, operand, block } of receivesOf[rank]) {
      if (row >= before || needed.has(operand) || !overlaps(block, at)) continue;
      needed.add(operand);
      const sent = partner[row];
      needed.add(ops.operandBegin[sent] + operand - ops.operandBegin[row]);
      take(ops.peer[row], block, sent);
    }
  };
  receivesOf.forEach((receives, rank) => {
    for (const { block } of receives)
      for (const piece of piecesIn(read[rank], block)) take(rank, piece, opBegin[rank + 1]);
  });
  return needed;
}

const overlaps = (a: Block, b: Block): boolean =>
  a.tensor === b.tensor &&
  a.tokenBegin < b.tokenEnd &&
  b.tokenBegin < a.tokenEnd &&
  a.headBegin < b.headEnd &&
  b.headBegin < a.headEnd;

/** The same schedule without transfers of what is not needed. */
function withoutTransfers(schedule: Schedule, needed: ReadonlySet<number>): Schedule {
  const { problem, strategy, degrees, layout, tensors, resident = [] } = schedule;
  const builder = new ScheduleBuilder(problem, strategy, degrees, layout, tensors);
  for (let rank = 0; rank < worldSizeOf(schedule); rank++) {
    const program = builder.rank(rank);
    program.hold(...(resident[rank] ?? []));
    appendOps(program, opsWithout(schedule, rank, needed));
  }
  return builder.finish();
}

/** The ops of a rank; a transfer has only those blocks that are needed. */
function* opsWithout(schedule: Schedule, rank: number, needed: ReadonlySet<number>): Generator<Op> {
  const { ops, opBegin } = schedule;
  for (let row = opBegin[rank]; row < opBegin[rank + 1]; row++) {
    const op = opAt(schedule, row);
    if (op.kind !== "send" && op.kind !== "recv") yield op;
    else yield { ...op, blocks: op.blocks.filter((_, i) => needed.has(ops.operandBegin[row] + i)) };
  }
}
