import { tokensOf } from "@hsap/workload";
import { type Block, isCommunication, type Op, programOf, type Schedule, worldSizeOf } from "../src/index.ts";

/**
 * A second opinion for the verifier's tests: replays a schedule element by element, with the list of pairs that flowed into
 * each. Slow, and as plain as can be. Returns whether every output is right and nothing was computed in vain; knows no unfused ops.
 */
export function isRightByElements(schedule: Schedule): boolean {
  try {
    new DenseReplay(schedule).run();
    return true;
  } catch (error) {
    if (error instanceof Wrong) return false;
    throw error;
  }
}

class Wrong extends Error {}

function demand(condition: boolean): asserts condition {
  if (!condition) throw new Wrong();
}

/** An input's element by name, or the pairs that were added up. */
type Element = string | readonly string[];

const key = (tensor: string, part: number, token: number, head: number) => `${tensor}#${part} ${token} ${head}`;

class DenseReplay {
  readonly #programs: Op[][];
  readonly #state: Map<string, Element>[];
  readonly #groupSize: number;
  readonly #document: number[] = [];
  /** Sends and receives that have met their other side. */
  readonly #done = new Set<Op>();
  #pairsComputed = 0;

  constructor(private readonly schedule: Schedule) {
    const { problem, layout, tensors } = schedule;
    this.#groupSize = problem.shape.heads / problem.shape.kvHeads;
    const { cuSeqlens } = problem.batch;
    for (let d = 0; d + 1 < cuSeqlens.length; d++)
      for (let token = cuSeqlens[d]; token < cuSeqlens[d + 1]; token++) this.#document.push(d);
    this.#programs = Array.from({ length: worldSizeOf(schedule) }, (_, rank) => [...programOf(schedule, rank)]);
    this.#state = this.#programs.map(() => new Map());
    for (const { name, heads, role } of tensors) {
      if (role !== "input") continue;
      layout.forEach((ranges, rank) => {
        for (const { begin, end } of ranges)
          for (let token = begin; token < end; token++)
            for (let head = 0; head < heads; head++)
              this.#state[rank].set(key(name, 0, token, head), key(name, 0, token, head));
      });
    }
  }

  run(): void {
    const at = this.#programs.map(() => 0);
    for (let moved = true; moved; ) {
      moved = false;
      this.#programs.forEach((program, rank) => {
        for (; at[rank] < program.length && !isCommunication(program[at[rank]].kind); at[rank]++) {
          this.#compute(rank, program[at[rank]]);
          moved = true;
        }
      });
      if (this.#exchange(at)) moved = true;
    }
    demand(this.#programs.every((program, rank) => at[rank] === program.length));
    this.#checkOutputs();
  }

  /** Moves whatever both ranks stand at, and lets those go on whose group is done; returns whether anything moved. */
  #exchange(at: number[]): boolean {
    let moved = false;
    const groups = this.#programs.map((program, rank) => groupAt(program, at[rank]));
    groups.forEach((group, rank) => {
      for (const send of group) {
        if (send.kind !== "send" || this.#done.has(send)) continue;
        const recv = groups[send.peer]?.find((op) => op.kind === "recv" && op.peer === rank && !this.#done.has(op));
        if (recv === undefined) continue;
        demand(JSON.stringify(send.blocks) === JSON.stringify(recv.blocks));
        for (const block of recv.blocks) {
          const others = groups[send.peer].filter((op) => op !== recv).flatMap(({ blocks }) => blocks);
          demand(recv.blocks.every((other) => other === block || !overlap(other, block)));
          demand(!others.some((other) => overlap(other, block)));
          this.#write(send.peer, block, this.#read(rank, block));
        }
        this.#done.add(send).add(recv);
        moved = true;
      }
    });
    groups.forEach((group, rank) => {
      if (group.length === 0 || !group.every((op) => this.#done.has(op))) return;
      at[rank] += group.length;
      moved = true;
    });
    return moved;
  }

  #compute(rank: number, op: Op): void {
    for (const block of op.blocks) demand(this.#isInside(block));
    if (op.kind === "attend") this.#attend(rank, op.blocks, op.mask);
    else if (op.kind === "reduce") this.#reduce(rank, op.blocks);
    else throw new Error(`no ${op.kind} here`);
  }

  #attend(rank: number, blocks: readonly Block[], mask: "full" | "causal"): void {
    const backward = this.schedule.problem.pass === "backward";
    const names = backward ? ["q", "k", "v", "do", "lse", "delta", "dq", "dk", "dv"] : ["q", "k", "v", "o", "lse"];
    demand(blocks.length === names.length);
    const [q, k] = blocks;
    blocks.forEach((block, i) => {
      demand(block.tensor === names[i]);
      const like = ["k", "v", "dk", "dv"].includes(names[i]) ? k : q;
      for (const field of ["tokenBegin", "tokenEnd", "headBegin", "headEnd"] as const)
        demand(block[field] === like[field]);
      if (i >= (backward ? 6 : 3)) return;
      const elements = this.#read(rank, block);
      demand(cells(block).every(([token, head], j) => elements[j] === key(names[i], 0, token, head)));
    });
    for (let x = q.tokenBegin; x < q.tokenEnd; x++) {
      for (let h = q.headBegin; h < q.headEnd; h++) {
        const g = Math.floor(h / this.#groupSize);
        demand(g >= k.headBegin && g < k.headEnd);
        const keys: number[] = [];
        for (let y = k.tokenBegin; y < k.tokenEnd; y++) if (mask === "full" || y <= x) keys.push(y);
        for (const y of keys) demand(this.#isAllowed(x, y));
        this.#pairsComputed += keys.length;
        if (!backward) {
          const [o, lse] = blocks.slice(3);
          const before = this.#sumAt(rank, o, x, h, "o");
          demand(sameList(before, this.#sumAt(rank, lse, x, h, "o")));
          for (const block of [o, lse])
            this.#add(
              rank,
              block,
              x,
              h,
              keys.map((y) => `o ${y}`),
            );
        } else {
          this.#add(
            rank,
            blocks[6],
            x,
            h,
            keys.map((y) => `dq ${y}`),
          );
          for (const y of keys) {
            this.#add(rank, blocks[7], y, g, [`dk ${x} ${h}`]);
            this.#add(rank, blocks[8], y, g, [`dv ${x} ${h}`]);
          }
          // Rows that see no query are touched all the same.
          for (const [y, head] of cells(k))
            for (const block of [blocks[7], blocks[8]]) this.#add(rank, block, y, head, []);
        }
      }
    }
  }

  #reduce(rank: number, [target, ...sources]: readonly Block[]): void {
    for (const [token, head] of cells(target)) if (sources.length === 0) this.#add(rank, target, token, head, []);
    for (const source of sources) {
      const rows = (block: Block) => JSON.stringify(cells(block));
      demand(rows(source) === rows(target) && !["q", "k", "v", "do", "lse", "delta"].includes(target.tensor));
      demand(this.#widthOf(source) === this.#widthOf(target));
      const elements = this.#read(rank, source);
      cells(source).forEach(([token, head], i) => {
        const added = elements[i];
        demand(typeof added !== "string" && added.every((pair) => !pair.startsWith("o ")));
        const sum = this.#sumAt(rank, target, token, head);
        const kinds = new Set([...sum, ...added].map((pair) => pair.split(" ")[0]));
        demand(kinds.size <= 1);
        this.#add(rank, target, token, head, added);
      });
    }
  }

  #checkOutputs(): void {
    const { problem, tensors, layout } = this.schedule;
    let pairs = 0;
    for (const { name, role, heads } of tensors) {
      if (role !== "output") continue;
      layout.forEach((ranges, rank) => {
        for (const { begin, end } of ranges)
          for (let token = begin; token < end; token++)
            for (let head = 0; head < heads; head++) {
              const found = this.#state[rank].get(key(name, 0, token, head));
              const expected = this.#expected(name, token, head);
              demand(found !== undefined && typeof found !== "string" && sameList(found, expected));
              if (name === "o" || name === "dq") pairs += expected.length;
            }
      });
    }
    demand(problem.batch.cuSeqlens.at(-1) === tokensOf(problem.batch) && this.#pairsComputed === pairs);
  }

  #expected(name: string, token: number, head: number): string[] {
    const all = [...this.#document.keys()];
    if (name === "o" || name === "lse") return all.filter((y) => this.#isAllowed(token, y)).map((y) => `o ${y}`);
    if (name === "dq") return all.filter((y) => this.#isAllowed(token, y)).map((y) => `dq ${y}`);
    const queries = all.filter((x) => this.#isAllowed(x, token));
    const heads = Array.from({ length: this.#groupSize }, (_, i) => head * this.#groupSize + i);
    return queries.flatMap((x) => heads.map((h) => `${name} ${x} ${h}`));
  }

  #isAllowed(x: number, y: number): boolean {
    return this.#document[x] === this.#document[y] && (this.schedule.problem.mask === "full" || y <= x);
  }

  #isInside(block: Block): boolean {
    const spec = this.schedule.tensors.find(({ name }) => name === block.tensor);
    const inTokens = block.tokenBegin < block.tokenEnd && block.tokenEnd <= this.#document.length;
    return spec !== undefined && inTokens && block.headBegin < block.headEnd && block.headEnd <= spec.heads;
  }

  #widthOf(block: Block): number | undefined {
    return this.schedule.tensors.find(({ name }) => name === block.tensor)?.width;
  }

  #read(rank: number, block: Block): Element[] {
    demand(this.#isInside(block));
    return cells(block).map(([token, head]) => {
      const element = this.#state[rank].get(key(block.tensor, block.part, token, head));
      demand(element !== undefined);
      return element;
    });
  }

  #write(rank: number, block: Block, elements: readonly Element[]): void {
    cells(block).forEach(([token, head], i) => {
      this.#state[rank].set(key(block.tensor, block.part, token, head), elements[i]);
    });
  }

  #sumAt(rank: number, { tensor, part }: Block, token: number, head: number, kind = ""): readonly string[] {
    const sum = this.#state[rank].get(key(tensor, part, token, head)) ?? [];
    demand(typeof sum !== "string" && sum.every((pair) => pair.startsWith(kind)));
    return sum;
  }

  #add(rank: number, block: Block, token: number, head: number, pairs: readonly string[]): void {
    const kind = pairs[0]?.split(" ")[0] ?? "";
    const sum = this.#sumAt(rank, block, token, head, kind);
    this.#state[rank].set(key(block.tensor, block.part, token, head), [...sum, ...pairs]);
  }
}

const cells = (block: Block): [token: number, head: number][] => {
  const found: [number, number][] = [];
  for (let token = block.tokenBegin; token < block.tokenEnd; token++)
    for (let head = block.headBegin; head < block.headEnd; head++) found.push([token, head]);
  return found;
};

const sameList = (a: readonly string[], b: readonly string[]): boolean =>
  JSON.stringify([...a].sort()) === JSON.stringify([...b].sort());

const overlap = (a: Block, b: Block): boolean =>
  a.tensor === b.tensor &&
  a.part === b.part &&
  a.tokenBegin < b.tokenEnd &&
  b.tokenBegin < a.tokenEnd &&
  a.headBegin < b.headEnd &&
  b.headBegin < a.headEnd;

type Transfer = Extract<Op, { kind: "send" | "recv" }>;

/** The sends and receives of the group that begins at `at`. */
function groupAt(program: readonly Op[], at: number): Transfer[] {
  const group: Transfer[] = [];
  for (let i = at; i < program.length; i++) {
    const op = program[i];
    if (op.kind !== "send" && op.kind !== "recv") break;
    if (group.length > 0 && op.group !== group[0].group) break;
    group.push(op);
  }
  return group;
}
