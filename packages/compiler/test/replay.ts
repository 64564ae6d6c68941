import { type Block, homeBlocks, type Op, type Problem, programOf, type Schedule, worldSizeOf } from "@hsap/schedule";
import { documentAt, tokensOf } from "@hsap/workload";

/**
 * Runs a schedule on whole numbers instead of vectors, token by token and head by head: every (query, key, head) has its
 * own number, a row of o is the sum over its keys and a row of dk or dv the sum over its queries. So a pair computed
 * twice, never, or across documents changes a result. Throws where an op reads what its rank does not hold, where
 * transfers do not match, or where ranks wait for each other for ever.
 *
 * Each rank runs its ops strictly one after the other, which allows less than the two lanes of a real run.
 */
export function replay(schedule: Schedule): void {
  const ranks = Array.from({ length: worldSizeOf(schedule) }, (_, rank) => new ReplayRank(schedule, rank));
  const channels = new Map<string, Posted[]>();
  const channel = (from: number, to: number) => {
    const key = `${from}>${to}`;
    if (!channels.has(key)) channels.set(key, []);
    return channels.get(key) as Posted[];
  };
  for (let progressed = true; progressed; ) {
    progressed = false;
    for (const rank of ranks) while (rank.step(channel)) progressed = true;
  }
  const stuck = ranks.filter((rank) => !rank.finished);
  if (stuck.length > 0) throw new Error(`deadlock: ranks ${stuck.map(({ rank }) => rank).join(", ")} wait for ever`);
  for (const rank of ranks) rank.checkResults();
}

interface Posted {
  readonly side: "send" | "recv";
  readonly blocks: readonly Block[];
  readonly rank: ReplayRank;
  done: boolean;
}

class ReplayRank {
  readonly #ops: Op[];
  readonly #cells = new Map<string, number>();
  #next = 0;
  #posted: Posted[] | undefined;

  constructor(
    readonly schedule: Schedule,
    readonly rank: number,
  ) {
    this.#ops = [...programOf(schedule, rank)];
    for (const { name, role } of schedule.tensors) {
      if (role !== "input") continue;
      for (const block of homeBlocks(schedule, rank, name)) {
        for (const cell of cellsOf(block)) this.#cells.set(cell, inputValue(cell));
      }
    }
  }

  get finished(): boolean {
    return this.#next === this.#ops.length;
  }

  step(channel: (from: number, to: number) => Posted[]): boolean {
    if (this.finished) return false;
    const op = this.#ops[this.#next];
    if (op.kind !== "send" && op.kind !== "recv") {
      this.#compute(op);
      this.#next++;
      return true;
    }
    let end = this.#next;
    const inGroup = (other: Op) => (other.kind === "send" || other.kind === "recv") && other.group === op.group;
    while (end < this.#ops.length && inGroup(this.#ops[end])) end++;
    let progressed = false;
    if (this.#posted === undefined) {
      this.#posted = [];
      for (const transfer of this.#ops.slice(this.#next, end)) {
        if (transfer.kind !== "send" && transfer.kind !== "recv") continue;
        const posted: Posted = { side: transfer.kind, blocks: transfer.blocks, rank: this, done: false };
        const { peer } = transfer;
        const queue = transfer.kind === "send" ? channel(this.rank, peer) : channel(peer, this.rank);
        this.#posted.push(posted);
        match(queue, posted);
      }
      progressed = true;
    }
    if (!this.#posted.every(({ done }) => done)) return progressed;
    this.#posted = undefined;
    this.#next = end;
    return true;
  }

  read(cell: string): number {
    const value = this.#cells.get(cell);
    if (value === undefined)
      throw new Error(`unavailable: rank ${this.rank} does not hold ${cell} at op ${this.#next}`);
    return value;
  }

  take(cell: string, value: number): void {
    if (this.#cells.has(cell)) throw new Error(`received twice: rank ${this.rank} already holds ${cell}`);
    this.#cells.set(cell, value);
  }

  checkResults(): void {
    const { schedule, rank } = this;
    const expected = expectedResults(schedule.problem);
    for (const { name, role } of schedule.tensors) {
      if (role !== "output") continue;
      for (const cell of homeBlocks(schedule, rank, name).flatMap((block) => [...cellsOf(block)])) {
        const [is, should] = [this.#cells.get(cell), expected.get(cell)];
        if (is !== should) throw new Error(`wrong result: rank ${rank} has ${is} for ${cell}, not ${should}`);
      }
    }
  }

  #compute(op: Op): void {
    if (op.kind === "attend") this.#attend(op.mask, op.blocks);
    else if (op.kind === "reduce") this.#reduce(op.blocks);
    else if (op.kind === "merge") this.#merge(op.blocks);
    else throw new Error(`unexpected op: ${op.kind}`);
  }

  #attend(mask: "full" | "causal", blocks: readonly Block[]): void {
    const [q, k] = blocks;
    const { problem } = this.schedule;
    const backward = problem.pass === "backward";
    const groupSize = problem.shape.heads / problem.shape.kvHeads;
    for (const block of blocks.slice(0, backward ? 6 : 3)) for (const cell of cellsOf(block)) this.read(cell);
    const add = ({ tensor, part }: Block, token: number, head: number, value: number) => {
      const cell = cellName(tensor, part, token, head);
      this.#cells.set(cell, (this.#cells.get(cell) ?? 0) + value);
    };
    for (let row = q.tokenBegin; row < q.tokenEnd; row++) {
      for (let column = k.tokenBegin; column < k.tokenEnd; column++) {
        if (mask === "causal" && column > row) continue;
        for (let head = q.headBegin; head < q.headEnd; head++) {
          const value = pairValue(row, column, head);
          for (const block of blocks.slice(backward ? 6 : 3)) {
            const ofKeys = block.tensor === "dk" || block.tensor === "dv";
            add(block, ofKeys ? column : row, ofKeys ? Math.floor(head / groupSize) : head, value);
          }
        }
      }
    }
  }

  /** o and lse are sums here, so merging adds up. */
  #merge([o, lse, ...partials]: readonly Block[]): void {
    this.#reduce([o, ...partials.filter((_, i) => i % 2 === 0)]);
    this.#reduce([lse, ...partials.filter((_, i) => i % 2 === 1)]);
  }

  #reduce([target, ...sources]: readonly Block[]): void {
    for (const source of sources) {
      const targets = [...cellsOf(target)];
      const values = [...cellsOf(source)];
      if (targets.length !== values.length) throw new Error(`reduce: ${targets.length} cells from ${values.length}`);
      targets.forEach((cell, i) => {
        this.#cells.set(cell, (this.#cells.get(cell) ?? 0) + this.read(values[i]));
      });
    }
  }
}

/** Pairs a posted transfer with the oldest open one of the other side. */
function match(queue: Posted[], posted: Posted): void {
  const partner = queue.find((other) => !other.done && other.side !== posted.side);
  if (partner === undefined) {
    queue.push(posted);
    return;
  }
  queue.splice(queue.indexOf(partner), 1);
  const [send, recv] = posted.side === "send" ? [posted, partner] : [partner, posted];
  const sent = JSON.stringify(send.blocks);
  if (sent !== JSON.stringify(recv.blocks))
    throw new Error(`mismatch: ${sent} sent, ${JSON.stringify(recv.blocks)} awaited`);
  for (const block of send.blocks) for (const cell of cellsOf(block)) recv.rank.take(cell, send.rank.read(cell));
  send.done = true;
  recv.done = true;
}

const expectations = new WeakMap<Problem, Map<string, number>>();

/** What every row of every output must be, by the definition of the mask. */
function expectedResults(problem: Problem): ReadonlyMap<string, number> {
  const known = expectations.get(problem);
  if (known !== undefined) return known;
  const { batch, shape, mask } = problem;
  const results = new Map<string, number>();
  expectations.set(problem, results);
  const add = (cell: string, value: number) => results.set(cell, (results.get(cell) ?? 0) + value);
  for (let row = 0; row < tokensOf(batch); row++) {
    const document = documentAt(batch, row);
    const end = mask === "causal" ? row + 1 : batch.cuSeqlens[document + 1];
    for (let column = batch.cuSeqlens[document]; column < end; column++) {
      for (let head = 0; head < shape.heads; head++) {
        const value = pairValue(row, column, head);
        const kvHead = Math.floor((head * shape.kvHeads) / shape.heads);
        for (const tensor of ["o", "lse", "dq"]) add(cellName(tensor, 0, row, head), value);
        for (const tensor of ["dk", "dv"]) add(cellName(tensor, 0, column, kvHead), value);
      }
    }
  }
  return results;
}

function* cellsOf({ tensor, part, tokenBegin, tokenEnd, headBegin, headEnd }: Block): Generator<string> {
  for (let token = tokenBegin; token < tokenEnd; token++) {
    for (let head = headBegin; head < headEnd; head++) yield cellName(tensor, part, token, head);
  }
}

const cellName = (tensor: string, part: number, token: number, head: number): string =>
  `${tensor}${part === 0 ? "" : `#${part}`} ${token} ${head}`;

/** A number that hardly any other pair has, small enough for exact sums. */
const pairValue = (row: number, column: number, head: number): number =>
  (Math.imul(row * 31 + 7, 0x9e3779b1) ^ Math.imul(column * 17 + 3, 0x85ebca6b) ^ Math.imul(head + 1, 0xc2b2ae35)) >>>
  8;

const inputValue = (cell: string): number => cell.length;
