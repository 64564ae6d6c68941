import { type LayerOpKind, layerOpShapes } from "../layer-op.ts";
import { homeBlocks, type Schedule, worldSizeOf } from "../schedule.ts";
import { zero } from "./contributions.ts";
import type { FindingLog } from "./finding.ts";
import { empty, type Held, type Rectangle } from "./held.ts";
import { contractions, firstTermContent, Terms } from "./terms.ts";

/** The part of a replay that a layer's ops work on. */
interface Memory {
  held(rank: number, tensor: number, part: number): Held;
  /** Checks attention's own output, and says that it is complete from now on. False if no rule knows such an output. */
  settle(rank: number, tensor: number, rows: Rectangle): boolean;
}

/** Content of a tensor's value, whoever made it; an input has it from the start. */
export const valueContent = (tensor: number): number => -1 - tensor;

/**
 * Replays the ops of a layer: each must be an instance of an equation and reads only what is complete by then. A sum becomes the
 * tensor's value once every term of every equation is in it, over its whole contraction, exactly once.
 */
export class LayerReplay {
  readonly #terms: Terms;
  /** First term of the equation with this op and these tensors. */
  readonly #equations = new Map<string, number>();

  constructor(
    private readonly schedule: Schedule,
    private readonly memory: Memory,
    private readonly log: FindingLog,
  ) {
    this.#terms = new Terms(schedule);
    const names = schedule.tensors.map(({ name }) => name);
    let first = 0;
    for (const { op, reads, writes } of schedule.equations ?? []) {
      const key = [op, ...[...reads, ...writes].map((name) => names.indexOf(name))].join(" ");
      if (this.#equations.has(key))
        log.add("coverage", { rank: 0 }, `two equations are the same: ${op} ${reads.join(" ")}`);
      this.#equations.set(key, first);
      first += writes.length;
    }
  }

  /** Whether equations say what a tensor is. */
  defines(tensor: number): boolean {
    return this.#terms.ofTensor[tensor].length > 0;
  }

  compute(rank: number, row: number, kind: LayerOpKind, operands: Int32Array): void {
    const { tensor } = this.schedule.blocks;
    const first = this.#equations.get([kind, ...Array.from(operands, (id) => tensor[id])].join(" "));
    if (first === undefined) {
      this.log.add("coverage", { row, block: operands[0] }, "no equation asks for it");
      return;
    }
    const { reads, writes } = layerOpShapes[kind];
    for (let i = 0; i < reads; i++) this.#readValue(rank, row, operands[i]);
    for (let slot = 0; slot < writes; slot++) {
      const [begin, end] = this.#contracted(kind, slot, operands);
      this.#write(rank, row, operands[reads + slot], (sum) => this.#terms.append(sum, first + slot, begin, end));
    }
  }

  /** Adds sums of the same tensor. */
  reduce(rank: number, row: number, [target, ...sources]: Int32Array): void {
    const { tensor, part } = this.schedule.blocks;
    if (sources.length === 0) {
      const held = this.memory.held(rank, tensor[target], part[target]);
      held.update(this.#rectangle(target), (sum) => (sum === empty ? zero : sum));
    }
    for (const source of sources) {
      if (tensor[source] !== tensor[target]) {
        this.log.add("ownership", { row, block: source }, "adds one tensor to another");
        continue;
      }
      for (const { content, piece } of this.#pieces(rank, row, source)) {
        if (content === zero) continue;
        if (content < 0) this.#replace(rank, row, target, piece, content);
        else this.#write(rank, row, target, (sum) => this.#terms.join(sum, content), piece);
      }
    }
  }

  /** Every output that equations define is complete at each of its homes. */
  checkOutput(tensor: number): void {
    const { name } = this.schedule.tensors[tensor];
    for (let rank = 0; rank < worldSizeOf(this.schedule); rank++) {
      const held = this.memory.held(rank, tensor, 0);
      for (const block of homeBlocks(this.schedule, rank, name)) {
        held.update(block, (content) => content);
        held.read(block, (content, piece) => {
          const fault = this.#faultOf(content, tensor);
          if (fault !== undefined)
            this.log.add("coverage", { rank, block: { tensor: name, part: 0, ...piece } }, fault);
        });
      }
    }
  }

  #faultOf(content: number, tensor: number): string | undefined {
    if (content === valueContent(tensor)) return undefined;
    if (content === empty || content === zero) return "is computed by nobody";
    if (content < firstTermContent) return "holds something else";
    return this.#terms.faultOf(content, tensor);
  }

  #readValue(rank: number, row: number, id: number): void {
    const { tensor, part } = this.schedule.blocks;
    if (part[id] !== 0) {
      this.log.add("availability", { row, block: id }, "is a partial sum");
      return;
    }
    const value = valueContent(tensor[id]);
    const held = this.memory.held(rank, tensor[id], 0);
    if (held.holdsOnly(this.#rectangle(id), value)) return;
    if (!this.defines(tensor[id]) && this.memory.settle(rank, tensor[id], this.#rectangle(id))) {
      held.assign(this.#rectangle(id), value);
      return;
    }
    for (const { content } of this.#pieces(rank, row, id)) {
      if (content === value) continue;
      const fault = this.#faultOf(content, tensor[id]) ?? "is not complete";
      this.log.add(content < 0 ? "availability" : "coverage", { row, block: id }, `is read, but ${fault}`);
    }
  }

  #write(
    rank: number,
    row: number,
    id: number,
    change: (sum: number) => number,
    at: Rectangle = this.#rectangle(id),
  ): void {
    const { tensor, part } = this.schedule.blocks;
    const target = tensor[id];
    const { accumulates } = this.schedule.tensors[target];
    this.memory.held(rank, target, part[id]).update(at, (sum) => {
      if (accumulates && sum < 0) {
        this.log.add("coverage", { row, block: id }, "is complete already");
        return sum;
      }
      const changed = change(accumulates ? sum : empty);
      const complete = part[id] === 0 && this.#terms.faultOf(changed, target) === undefined;
      return complete ? valueContent(target) : changed;
    });
  }

  /** A complete tensor goes where nothing is. */
  #replace(rank: number, row: number, id: number, at: Rectangle, content: number): void {
    const { tensor, part } = this.schedule.blocks;
    this.memory.held(rank, tensor[id], part[id]).update(at, (sum) => {
      if (sum !== empty && sum !== zero)
        this.log.add("coverage", { row, block: id }, "is added to what is there already");
      return content;
    });
  }

  #contracted(kind: LayerOpKind, slot: number, operands: Int32Array): readonly [number, number] {
    const contraction = contractions[kind]?.[slot];
    if (contraction === undefined) return [0, 1];
    const { tokenBegin, tokenEnd, headBegin, headEnd, tensor } = this.schedule.blocks;
    const id = operands[contraction.read];
    if (contraction.axis === "rows") return [tokenBegin[id], tokenEnd[id]];
    const { width } = this.schedule.tensors[tensor[id]];
    return [headBegin[id] * width, headEnd[id] * width];
  }

  /** All pieces of a block, which must be held and not empty. */
  #pieces(rank: number, row: number, id: number): { content: number; piece: Rectangle }[] {
    const { tensor, part } = this.schedule.blocks;
    const pieces: { content: number; piece: Rectangle }[] = [];
    let isEmpty = false;
    const complete = this.memory.held(rank, tensor[id], part[id]).read(this.#rectangle(id), (content, piece) => {
      if (content === empty) isEmpty = true;
      else pieces.push({ content, piece });
    });
    if (!complete || isEmpty) this.log.add("availability", { row, block: id }, "is not held by then");
    return pieces;
  }

  #rectangle(id: number): Rectangle {
    const { tokenBegin, tokenEnd, headBegin, headEnd } = this.schedule.blocks;
    return { tokenBegin: tokenBegin[id], tokenEnd: tokenEnd[id], headBegin: headBegin[id], headEnd: headEnd[id] };
  }
}
