import { dataWaitsOf, opKinds, type Schedule, tileMasks, wireBytesOf, worldSizeOf } from "@hsap/schedule";
import { documentAt } from "@hsap/workload";

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

/** Cuts the programs into calls and groups. `waits` is `dataWaitsOf(schedule)`, or `op.waitFor` of a lowered schedule. */
export function programItemsOf(schedule: Schedule, waits: Int32Array = dataWaitsOf(schedule)): ProgramItems {
  const ranks = worldSizeOf(schedule);
  const { ops, opBegin } = schedule;
  const calls = new CallList(schedule);
  const groups = new GroupList(ranks);
  for (let rank = 0; rank < ranks; rank++) {
    calls.beginRank(rank);
    groups.beginRank(rank);
    let issue = 0;
    // The call that holds each computation op so far, so that a count of ops becomes a count of calls.
    const callOfOp: number[] = [0];
    for (let row = opBegin[rank]; row < opBegin[rank + 1]; ) {
      let end = row + 1;
      if (ops.kind[row] <= recv) {
        while (end < opBegin[rank + 1] && ops.kind[end] <= recv && ops.group[end] === ops.group[row]) end++;
        groups.add(row, end, callOfOp[Math.min(waits[row], callOfOp.length - 1)], issue++, ops.attribute[row]);
      } else {
        const sameCall = (next: number) =>
          isTileOp(ops.kind[next]) === isTileOp(ops.kind[row]) &&
          (isTileOp(ops.kind[row]) ? ops.kind[next] === ops.kind[row] : ops.kind[next] > recv) &&
          waits[next] <= waits[row];
        while (end < opBegin[rank + 1] && ops.kind[end] > recv && sameCall(end)) end++;
        calls.add(row, end, waits[row], issue++);
        for (let op = row; op < end; op++) callOfOp.push(calls.countOfRank);
      }
      row = end;
    }
  }
  return { ranks, calls: calls.finish(), groups: groups.finish() };
}

const noDocuments = { count: 0, longest: 0 };

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
  readonly #bytes: Float64Array;
  /** Query rows that a call of the rank has written so far, by part and heads: what a further call adds to. */
  #written = new Map<string, [number, number][]>();
  #firstOfRank = 0;

  constructor(private readonly schedule: Schedule) {
    this.#begin = new Int32Array(worldSizeOf(schedule) + 1);
    this.#bytes = Float64Array.from(schedule.tensors, wireBytesOf);
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
    const isAttention = ops.kind[opBegin] === attend;
    this.#isAttention.push(isAttention ? 1 : 0);
    const backward = problem.pass === "backward";
    this.#query.push(isAttention ? this.#unionBytes(opBegin, opEnd, 0) : 0);
    this.#key.push(isAttention ? this.#unionBytes(opBegin, opEnd, 1) + this.#unionBytes(opBegin, opEnd, 2) : 0);
    this.#accumulated.push(isAttention ? this.#addedTo(opBegin, opEnd, backward ? 6 : 3) : 0);
    this.#moved.push(isTileOp(ops.kind[opBegin]) ? 0 : this.#movedBytes(opBegin, opEnd));
    const queries = isAttention ? this.#documents(opBegin, opEnd, 0) : noDocuments;
    this.#sequences.push(queries.count);
    this.#longestQueries.push(queries.longest);
    this.#longestKeys.push(isAttention ? this.#documents(opBegin, opEnd, 1).longest : 0);
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

  /** Bytes of the blocks at one position of a call's ops, each row counted once. */
  #unionBytes(opBegin: number, opEnd: number, position: number): number {
    let bytes = 0;
    this.#eachUnion(opBegin, opEnd, position, (id, begin, end) => {
      const { blocks } = this.schedule;
      bytes += (end - begin) * (blocks.headEnd[id] - blocks.headBegin[id]) * this.#bytes[blocks.tensor[id]];
    });
    return bytes;
  }

  /** How many (document, head) pairs the blocks at a position are of, and the most tokens of one document there. */
  #documents(opBegin: number, opEnd: number, position: number): { readonly count: number; readonly longest: number } {
    const { blocks, problem } = this.schedule;
    let [count, longest, tokens, last, head] = [0, 0, 0, -1, -1];
    this.#eachUnion(opBegin, opEnd, position, (id, begin, end) => {
      // A stretch may run over several documents that lie side by side.
      for (let from = begin; from < end; ) {
        const document = documentAt(problem.batch, from);
        const to = Math.min(end, problem.batch.cuSeqlens[document + 1]);
        if (document !== last || blocks.headBegin[id] !== head) {
          count += blocks.headEnd[id] - blocks.headBegin[id];
          tokens = 0;
        }
        [last, head] = [document, blocks.headBegin[id]];
        tokens += to - from;
        longest = Math.max(longest, tokens);
        from = to;
      }
    });
    return { count, longest };
  }

  /** Bytes of the output rows of a call to which an earlier call has added; all of its rows are noted as written. */
  #addedTo(opBegin: number, opEnd: number, position: number): number {
    const { blocks } = this.schedule;
    let bytes = 0;
    const added: [string, number, number][] = [];
    this.#eachUnion(opBegin, opEnd, position, (id, begin, end) => {
      const key = `${blocks.part[id]}:${blocks.headBegin[id]}`;
      const row = (blocks.headEnd[id] - blocks.headBegin[id]) * this.#bytes[blocks.tensor[id]];
      for (const [from, to] of this.#written.get(key) ?? [])
        bytes += row * Math.max(0, Math.min(to, end) - Math.max(from, begin));
      added.push([key, begin, end]);
    });
    for (const [key, begin, end] of added) note(this.#written, key, begin, end);
    return bytes;
  }

  /** Calls `take` for each stretch of tokens that the blocks at `position` cover, sorted and joined by their heads. */
  #eachUnion(
    opBegin: number,
    opEnd: number,
    position: number,
    take: (id: number, begin: number, end: number) => void,
  ): void {
    const { ops, blocks } = this.schedule;
    const ids: number[] = [];
    for (let op = opBegin; op < opEnd; op++) {
      const id = ops.operands[ops.operandBegin[op] + position];
      if (ids.length === 0 || ids[ids.length - 1] !== id) ids.push(id);
    }
    ids.sort(
      (a, b) =>
        blocks.headBegin[a] - blocks.headBegin[b] ||
        blocks.part[a] - blocks.part[b] ||
        blocks.tokenBegin[a] - blocks.tokenBegin[b],
    );
    for (let i = 0; i < ids.length; ) {
      const id = ids[i];
      const begin = blocks.tokenBegin[id];
      let end = blocks.tokenEnd[id];
      for (i++; i < ids.length; i++) {
        const next = ids[i];
        if (blocks.headBegin[next] !== blocks.headBegin[id] || blocks.part[next] !== blocks.part[id]) break;
        if (blocks.tokenBegin[next] > end) break;
        end = Math.max(end, blocks.tokenEnd[next]);
      }
      take(id, begin, end);
    }
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

/** Adds a stretch to the sorted, disjoint stretches of a key, joined with those it touches. */
function note(written: Map<string, [number, number][]>, key: string, begin: number, end: number): void {
  const stretches = written.get(key);
  if (stretches === undefined) {
    written.set(key, [[begin, end]]);
    return;
  }
  let first = 0;
  while (first < stretches.length && stretches[first][1] < begin) first++;
  let past = first;
  let [from, to] = [begin, end];
  for (; past < stretches.length && stretches[past][0] <= end; past++) {
    from = Math.min(from, stretches[past][0]);
    to = Math.max(to, stretches[past][1]);
  }
  stretches.splice(first, past - first, [from, to]);
}

export const causalMask = tileMasks.indexOf("causal");
