import { nodeOf } from "@hsap/cluster";
import { type Block, programOf, type Schedule, worldSizeOf } from "@hsap/schedule";
import { tokensOf } from "@hsap/workload";

/** What a schedule moves too often or for nothing, in (token, kv head) pairs; all 0 in a good one. */
export interface Waste {
  /** Keys that enter a node a second time, or the node that they come from. */
  readonly enteredAgain: number;
  /** Partial gradients that leave a node a second time. */
  readonly leftAgain: number;
  /** Keys that a rank receives a second time, or owns already. */
  readonly receivedAgain: number;
  /** Keys that a rank receives and no tile of its own reads. */
  readonly unread: number;
}

/** Counts waste from the schedule alone. Values travel beside keys, which is checked as well. */
export function wasteOf(schedule: Schedule): Waste {
  const { cluster } = schedule.problem;
  const entered = new Marks(schedule);
  const left = new Marks(schedule);
  const waste = { enteredAgain: 0, leftAgain: 0, receivedAgain: 0, unread: 0 };
  for (let rank = 0; rank < worldSizeOf(schedule); rank++) {
    const node = nodeOf(cluster, rank);
    const held = new Marks(schedule);
    const read = new Marks(schedule);
    const received: Block[] = [];
    for (const { begin, end } of schedule.layout[rank]) held.mark(0, { tokenBegin: begin, tokenEnd: end }, 0);
    for (const op of programOf(schedule, rank)) {
      if (op.kind === "attend") read.mark(0, op.blocks[1], 0);
      if (op.kind !== "recv" || op.groupKind !== "p2p") continue;
      const keys = op.blocks.filter(({ tensor }) => tensor === "k");
      if (op.blocks.filter(({ tensor }) => tensor === "v").length !== keys.length)
        throw new Error("keys without values");
      const from = nodeOf(cluster, op.peer);
      for (const block of keys) {
        received.push(block);
        waste.receivedAgain += held.mark(0, block, 0);
        if (from !== node) waste.enteredAgain += entered.mark(node, block, block.headBegin);
      }
      for (const block of op.blocks.filter(({ tensor }) => tensor === "dk")) {
        if (from !== node) waste.leftAgain += left.mark(from, block, block.headBegin);
      }
    }
    for (const block of received) waste.unread += block.tokenEnd - block.tokenBegin - read.count(0, block, 0);
  }
  return waste;
}

type Tokens = Pick<Block, "tokenBegin" | "tokenEnd">;

/** Marks tokens, apart for each node and each slice of heads. */
class Marks {
  readonly #marks = new Map<string, Uint8Array>();

  constructor(readonly schedule: Schedule) {}

  /** Marks tokens and returns how many of them were marked already. */
  mark(node: number, tokens: Tokens, slice: number): number {
    const again = this.count(node, tokens, slice);
    this.#of(node, slice).fill(1, tokens.tokenBegin, tokens.tokenEnd);
    return again;
  }

  count(node: number, { tokenBegin, tokenEnd }: Tokens, slice: number): number {
    const marks = this.#of(node, slice);
    let count = 0;
    for (let token = tokenBegin; token < tokenEnd; token++) count += marks[token];
    return count;
  }

  #of(node: number, slice: number): Uint8Array {
    const key = `${node}/${slice}`;
    const known = this.#marks.get(key);
    if (known !== undefined) return known;
    const marks = new Uint8Array(tokensOf(this.schedule.problem.batch));
    this.#marks.set(key, marks);
    return marks;
  }
}
