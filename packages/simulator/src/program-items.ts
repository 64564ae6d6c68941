import { opKinds, type Schedule, tileMasks, wireBytesOf, worldSizeOf } from "@hsap/schedule";
import { documentAt } from "@hsap/workload";
import { laneWaitsOf } from "./lane-waits.ts";
import { isLayerKind, isSameLayerCall } from "./matrix-time.ts";
import { RowSet, Stretches } from "./stretches.ts";

/**
 * The programs of a schedule as what a device runs: on the computation lane *calls*, on the communication lane groups. One call
 * is a run of like ops that follow each other in the program and wait for nothing in between: a variable-length kernel takes
 * all tiles of a step at once. Rows of all ranks lie one after another.
 */
export interface ProgramItems {
  readonly ranks: number;
  readonly calls: Calls;
  readonly groups: Groups;
}

export interface Calls {
  /** Calls of rank r: rows begin[r] to begin[r + 1]. */
  readonly begin: Int32Array;
  /** First op of each call; its ops end where `opEnd` says. */
  readonly opBegin: Int32Array;
  readonly opEnd: Int32Array;
  /** How many groups of the rank must be finished first. */
  readonly waitFor: Int32Array;
  /** Place among all items of the rank, in issue order. */
  readonly issue: Int32Array;
  /** 1 for calls of the attention kernel. */
  readonly isAttention: Uint8Array;
  /** Bytes of the query rows, the k and v rows, and the query rows that were added to before (attention), once each. */
  readonly queryBytes: Float64Array;
  readonly keyBytes: Float64Array;
  readonly accumulatedBytes: Float64Array;
  /** Bytes read and written by other ops. */
  readonly movedBytes: Float64Array;
  /** Documents of a call of the attention kernel, times its query heads; and the most queries and keys of one of them. */
  readonly sequences: Float64Array;
  readonly longestQueries: Int32Array;
  readonly longestKeys: Int32Array;
}

export interface Groups {
  readonly begin: Int32Array;
  readonly opBegin: Int32Array;
  readonly opEnd: Int32Array;
  /** How many calls of the rank must be finished first. */
  readonly waitFor: Int32Array;
  readonly issue: Int32Array;
  /** Index into `groupKinds`. */
  readonly kind: Uint8Array;
}

const attend = opKinds.indexOf("attend");
const score = opKinds.indexOf("score");
const weigh = opKinds.indexOf("weigh");
const unscore = opKinds.indexOf("unscore");
const softmax = opKinds.indexOf("softmax");
const recv = opKinds.indexOf("recv");

export const isTileOp = (kind: number): boolean =>
  kind === attend || kind === score || kind === weigh || kind === unscore;

/** Cuts the programs into calls and groups. `waits` is `laneWaitsOf(schedule)`, or `op.waitFor` of a lowered schedule. */
export function programItemsOf(schedule: Schedule, waits: Int32Array = laneWaitsOf(schedule)): ProgramItems {
  const ranks = worldSizeOf(schedule);
  const { ops, opBegin } = schedule;
  const calls = new CallList(schedule);
  const groups = new GroupList(ranks);
  for (let rank = 0; rank < ranks; rank++) {
    calls.beginRank(rank);
    groups.beginRank(rank);
    let issue = 0;
    // How many calls hold the first 0, 1, ... computation ops so far, so that a count of ops becomes a count of calls.
    const callsOfOps = new Int32Array(opBegin[rank + 1] - opBegin[rank] + 1);
    let computed = 0;
    for (let row = opBegin[rank]; row < opBegin[rank + 1]; ) {
      const end = itemEnd(schedule, row, opBegin[rank + 1], waits);
      if (ops.kind[row] <= recv) {
        groups.add(row, end, callsOfOps[Math.min(waits[row], computed)], issue++, ops.attribute[row]);
      } else {
        calls.add(row, end, waits[row], issue++);
        callsOfOps.fill(calls.countOfRank, computed + 1, computed + 1 + end - row);
        computed += end - row;
      }
      row = end;
    }
  }
  return { ranks, calls: calls.finish(), groups: groups.finish() };
}

/** Where the call or group that begins at `row` ends. */
function itemEnd(schedule: Schedule, row: number, programEnd: number, waits: Int32Array): number {
  const { ops } = schedule;
  const kind = ops.kind[row];
  let end = row + 1;
  if (kind <= recv) {
    while (end < programEnd && ops.kind[end] <= recv && ops.group[end] === ops.group[row]) end++;
    return end;
  }
  const isTile = isTileOp(kind);
  const isLayer = isLayerKind(kind);
  while (end < programEnd && waits[end] <= waits[row]) {
    const next = ops.kind[end];
    // Tiles of one kind are one call; whatever else is computed is another.
    // Rows of one rank lie side by side, so one kernel takes all ranges of them.
    if (isLayer && !isSameLayerCall(schedule, row, end)) break;
    if (isLayer) {
      end++;
      continue;
    }
    if (isTile ? next !== kind : next <= recv || isTileOp(next) || isLayerKind(next)) break;
    end++;
  }
  return end;
}

const headsPerKey = 2 ** 16;

class GroupList {
  readonly #begin: Int32Array;
  readonly #rows: number[][] = [[], [], [], [], []];

  constructor(ranks: number) {
    this.#begin = new Int32Array(ranks + 1);
  }

  beginRank(rank: number): void {
    this.#begin[rank] = this.#rows[0].length;
  }

  add(opBegin: number, opEnd: number, waitFor: number, issue: number, kind: number): void {
    for (const [column, value] of [opBegin, opEnd, waitFor, issue, kind].entries()) this.#rows[column].push(value);
  }

  finish(): Groups {
    this.#begin[this.#begin.length - 1] = this.#rows[0].length;
    const [opBegin, opEnd, waitFor, issue, kind] = this.#rows.map((column) => Int32Array.from(column));
    return { begin: this.#begin, opBegin, opEnd, waitFor, issue, kind: Uint8Array.from(kind) };
  }
}

class CallList {
  readonly #begin: Int32Array;
  readonly #opBegin: number[] = [];
  readonly #opEnd: number[] = [];
  readonly #waitFor: number[] = [];
  readonly #issue: number[] = [];
  readonly #isAttention: number[] = [];
  readonly #query: number[] = [];
  readonly #key: number[] = [];
  readonly #accumulated: number[] = [];
  readonly #moved: number[] = [];
  readonly #sequences: number[] = [];
  readonly #longestQueries: number[] = [];
  readonly #longestKeys: number[] = [];
  /** Columns that are 0 for calls of anything else. */
  readonly #ofAttention = [
    this.#isAttention,
    this.#query,
    this.#key,
    this.#accumulated,
    this.#sequences,
    this.#longestQueries,
    this.#longestKeys,
  ];
  readonly #bytes: Float64Array;
  readonly #stretches: Stretches;
  /** Query rows that a call of the rank has written so far, by part and heads: what a further call adds to. */
  #written = new Map<number, RowSet>();
  #firstOfRank = 0;

  constructor(private readonly schedule: Schedule) {
    this.#begin = new Int32Array(worldSizeOf(schedule) + 1);
    this.#bytes = Float64Array.from(schedule.tensors, wireBytesOf);
    this.#stretches = new Stretches(schedule);
  }

  /** Calls of the present rank so far. */
  get countOfRank(): number {
    return this.#opBegin.length - this.#firstOfRank;
  }

  beginRank(rank: number): void {
    this.#begin[rank] = this.#opBegin.length;
    this.#firstOfRank = this.#opBegin.length;
    this.#written = new Map();
  }

  add(opBegin: number, opEnd: number, waitFor: number, issue: number): void {
    const { ops, problem } = this.schedule;
    this.#opBegin.push(opBegin);
    this.#opEnd.push(opEnd);
    this.#waitFor.push(waitFor);
    this.#issue.push(issue);
    this.#moved.push(isTileOp(ops.kind[opBegin]) ? 0 : this.#movedBytes(opBegin, opEnd));
    if (ops.kind[opBegin] !== attend) {
      for (const column of this.#ofAttention) column.push(0);
      return;
    }
    this.#isAttention.push(1);
    const stretches = this.#stretches;
    stretches.take(opBegin, opEnd, 0);
    this.#query.push(this.#bytesOfStretches());
    const queries = this.#documents();
    this.#sequences.push(queries.count);
    this.#longestQueries.push(queries.longest);
    stretches.take(opBegin, opEnd, 1);
    const keyBytes = this.#bytesOfStretches();
    this.#longestKeys.push(this.#documents().longest);
    stretches.take(opBegin, opEnd, 2);
    this.#key.push(keyBytes + this.#bytesOfStretches());
    stretches.take(opBegin, opEnd, problem.pass === "backward" ? 6 : 3);
    this.#accumulated.push(this.#addedTo());
  }

  finish(): Calls {
    this.#begin[this.#begin.length - 1] = this.#opBegin.length;
    return {
      begin: this.#begin,
      opBegin: Int32Array.from(this.#opBegin),
      opEnd: Int32Array.from(this.#opEnd),
      waitFor: Int32Array.from(this.#waitFor),
      issue: Int32Array.from(this.#issue),
      isAttention: Uint8Array.from(this.#isAttention),
      queryBytes: Float64Array.from(this.#query),
      keyBytes: Float64Array.from(this.#key),
      accumulatedBytes: Float64Array.from(this.#accumulated),
      movedBytes: Float64Array.from(this.#moved),
      sequences: Float64Array.from(this.#sequences),
      longestQueries: Int32Array.from(this.#longestQueries),
      longestKeys: Int32Array.from(this.#longestKeys),
    };
  }

  #bytesOfStretches(): number {
    const { count, block, begin, end } = this.#stretches;
    let bytes = 0;
    for (let i = 0; i < count; i++) bytes += (end[i] - begin[i]) * this.#rowBytes(block[i]);
    return bytes;
  }

  #rowBytes(id: number): number {
    const { blocks } = this.schedule;
    return (blocks.headEnd[id] - blocks.headBegin[id]) * this.#bytes[blocks.tensor[id]];
  }

  /** How many (document, head) pairs the stretches are of, and the most tokens of one document there. */
  #documents(): { readonly count: number; readonly longest: number } {
    const { blocks, problem } = this.schedule;
    const { cuSeqlens } = problem.batch;
    const { count, block, begin, end } = this.#stretches;
    let [pairs, longest, tokens, last, head, document] = [0, 0, 0, -1, -1, -1];
    for (let i = 0; i < count; i++) {
      const id = block[i];
      // A stretch may run over several documents that lie side by side.
      for (let from = begin[i]; from < end[i]; ) {
        // Mostly the next stretch is of the same document or the one after.
        if (document >= 0 && cuSeqlens[document + 1] <= from) document++;
        const isThere = document >= 0 && cuSeqlens[document] <= from && from < cuSeqlens[document + 1];
        if (!isThere) document = documentAt(problem.batch, from);
        const to = Math.min(end[i], cuSeqlens[document + 1]);
        if (document !== last || blocks.headBegin[id] !== head) {
          pairs += blocks.headEnd[id] - blocks.headBegin[id];
          tokens = 0;
        }
        [last, head] = [document, blocks.headBegin[id]];
        tokens += to - from;
        longest = Math.max(longest, tokens);
        from = to;
      }
    }
    return { count: pairs, longest };
  }

  /** Bytes of the stretches of output rows to which an earlier call has added; all of them are noted as written. */
  #addedTo(): number {
    const { blocks } = this.schedule;
    const { count, block } = this.#stretches;
    let bytes = 0;
    for (let i = 0; i < count; ) {
      const id = block[i];
      let past = i + 1;
      while (
        past < count &&
        blocks.headBegin[block[past]] === blocks.headBegin[id] &&
        blocks.part[block[past]] === blocks.part[id]
      )
        past++;
      const key = blocks.part[id] * headsPerKey + blocks.headBegin[id];
      let rows = this.#written.get(key);
      if (rows === undefined) {
        rows = new RowSet();
        this.#written.set(key, rows);
      }
      bytes += rows.add(this.#stretches, i, past) * this.#rowBytes(id);
      i = past;
    }
    return bytes;
  }

  /** Each operand is read once, and targets are written too. */
  #movedBytes(opBegin: number, opEnd: number): number {
    const { ops, blocks } = this.schedule;
    let bytes = 0;
    for (let op = opBegin; op < opEnd; op++) {
      const begin = ops.operandBegin[op];
      for (let i = begin; i < ops.operandBegin[op + 1]; i++) {
        const id = ops.operands[i];
        const size =
          (blocks.tokenEnd[id] - blocks.tokenBegin[id]) *
          (blocks.headEnd[id] - blocks.headBegin[id]) *
          this.#bytes[blocks.tensor[id]];
        const isWritten = i === begin || ops.kind[op] === softmax;
        bytes += isWritten ? 2 * size : size;
      }
    }
    return bytes;
  }
}

export const causalMask = tileMasks.indexOf("causal");
