import { isLayerOp } from "../layer-op.ts";
import { type OpKind, opKinds } from "../op.ts";
import { homeBlocks, type Schedule, worldSizeOf } from "../schedule.ts";
import {
  bitOf,
  type ComputedTile,
  Contributions,
  type ScoreContent,
  type ScoreStage,
  type Slot,
  tileOf,
  zero,
} from "./contributions.ts";
import { isSlot, OutputCheck } from "./coverage.ts";
import type { FindingLog } from "./finding.ts";
import { empty, Held, type Rectangle } from "./held.ts";
import { LayerReplay, valueContent } from "./layer-replay.ts";
import type { ProgressVisitor } from "./matching.ts";
import { queryHeadsOf } from "./operands.ts";

/** Some rows of one (tensor, part), and what they hold. */
interface Piece {
  readonly content: number;
  readonly piece: Rectangle;
}

/**
 * Runs a schedule on symbols. Each rank holds blocks with a content: rows of an input, or a sum of tiles. On the way it checks
 * `availability` (an op reads what its rank holds by then) and the part of `ownership` that concerns sums: only what belongs
 * together is merged or added. What the ranks hold in the end is for `coverage`.
 */
export class Replay implements ProgressVisitor {
  readonly contributions = new Contributions();
  /** Attention's outputs, each with its check. */
  readonly outputs = new Map<number, OutputCheck>();
  readonly layer: LayerReplay;
  readonly #held: Map<number, Held>[];
  /** What each send row has taken from its rank when its group began, block by block. */
  readonly #sent = new Map<number, readonly (readonly Piece[])[]>();
  readonly #queryHeads: number[];
  readonly #inputs = new Map<string, number>();
  readonly #backward: boolean;

  constructor(
    private readonly schedule: Schedule,
    private readonly partner: Int32Array,
    private readonly log: FindingLog,
  ) {
    this.#backward = schedule.problem.pass === "backward";
    this.#queryHeads = queryHeadsOf(schedule);
    this.#held = Array.from({ length: worldSizeOf(schedule) }, () => new Map());
    schedule.tensors.forEach(({ name, role }, tensor) => {
      // In a layer attention reads what other ops have made.
      this.#inputs.set(name, valueContent(tensor));
      if (role !== "input") return;
      for (let rank = 0; rank < this.#held.length; rank++)
        for (const block of homeBlocks(schedule, rank, name))
          this.held(rank, tensor, 0).assign(block, valueContent(tensor));
    });
    this.layer = new LayerReplay(schedule, this, log);
    schedule.tensors.forEach(({ name, role }, tensor) => {
      if (role !== "input" && isSlot(name) && !this.layer.defines(tensor))
        this.outputs.set(tensor, new OutputCheck(schedule, this, log, tensor, name));
    });
  }

  settle(rank: number, tensor: number, rows: Rectangle): boolean {
    const output = this.outputs.get(tensor);
    output?.rows(rank, rows);
    return output !== undefined;
  }

  /** What `rank` holds of a tensor's part. */
  held(rank: number, tensor: number, part: number): Held {
    const key = part * 256 + tensor;
    const held = this.#held[rank].get(key);
    if (held !== undefined) return held;
    const made = new Held();
    this.#held[rank].set(key, made);
    return made;
  }

  begin(rank: number, begin: number, end: number): void {
    const { ops } = this.schedule;
    for (let row = begin; row < end; row++) {
      if (opKinds[ops.kind[row]] !== "send") continue;
      const sent: Piece[][] = [];
      for (let i = ops.operandBegin[row]; i < ops.operandBegin[row + 1]; i++)
        sent.push(this.#readHeld(rank, row, ops.operands[i]));
      this.#sent.set(row, sent);
    }
  }

  finish(rank: number, begin: number, end: number): void {
    const { ops } = this.schedule;
    for (let row = begin; row < end; row++) {
      if (opKinds[ops.kind[row]] !== "recv") continue;
      const sent = this.#sent.get(this.partner[row]) ?? [];
      this.#sent.delete(this.partner[row]);
      sent.forEach((pieces, i) => {
        const held = this.#heldBlock(rank, ops.operands[ops.operandBegin[row] + i]);
        for (const { content, piece } of pieces) held.assign(piece, content);
      });
    }
  }

  compute(rank: number, row: number): void {
    const { ops } = this.schedule;
    const operands = ops.operands.subarray(ops.operandBegin[row], ops.operandBegin[row + 1]);
    const kind = opKinds[ops.kind[row]];
    if (isLayerOp(kind)) this.layer.compute(rank, row, kind, operands);
    else if (kind === "reduce" && this.layer.defines(this.schedule.blocks.tensor[operands[0]]))
      this.layer.reduce(rank, row, operands);
    else this.#computations[kind]?.(rank, row, operands);
  }

  readonly #computations: Partial<Record<OpKind, (rank: number, row: number, operands: Int32Array) => void>> = {
    attend: (rank, row, operands) => (this.#backward ? this.#attendBackward : this.#attendForward)(rank, row, operands),
    merge: (rank, row, operands) => this.#merge(rank, row, operands),
    reduce: (rank, row, operands) => this.#reduce(rank, row, operands),
    copy: (rank, row, operands) => this.#copy(rank, row, operands),
    score: (rank, row, operands) => this.#score(rank, row, operands),
    softmax: (rank, row, operands) => this.#softmax(rank, row, operands),
    weigh: (rank, row, operands) => (this.#backward ? this.#weighBackward : this.#weighForward)(rank, row, operands),
    unscore: (rank, row, operands) => this.#unscore(rank, row, operands),
  };

  readonly #attendForward = (rank: number, row: number, operands: Int32Array): void => {
    for (let i = 0; i < 3; i++) this.#readInput(rank, row, attendInputs[i], operands[i]);
    const [o, lse] = [operands[3], operands[4]];
    const bits = bitOf("o") | bitOf("lse");
    const tile = this.contributions.tile(tileOf(this.schedule, row), bits);
    this.#mergeInto(rank, row, o, lse, this.#rectangle(o), (sum) => this.contributions.append(sum, tile, bits));
  };

  readonly #attendBackward = (rank: number, row: number, operands: Int32Array): void => {
    for (let i = 0; i < attendInputs.length; i++) this.#readInput(rank, row, attendInputs[i], operands[i]);
    const tile = this.contributions.tile(tileOf(this.schedule, row), bitOf("dq") | bitOf("dk") | bitOf("dv"));
    this.#append(rank, row, operands[6], tile, "dq");
    this.#append(rank, row, operands[7], tile, "dk");
    this.#append(rank, row, operands[8], tile, "dv");
  };

  #merge(rank: number, row: number, [o, lse, ...partials]: Int32Array): void {
    for (let i = 0; i < partials.length; i += 2) {
      const [partialO, partialLse] = [partials[i], partials[i + 1]];
      this.#readHeld(rank, row, partialLse);
      for (const { content, piece } of this.#readHeld(rank, row, partialO)) {
        for (const other of piecesOf(this.#heldBlock(rank, partialLse), piece)) {
          this.#checkPair(row, partialO, content, other.content, other.piece);
          this.#mergeInto(rank, row, o, lse, other.piece, (sum) => this.contributions.join(sum, content));
        }
      }
    }
  }

  #reduce(rank: number, row: number, [target, ...sources]: Int32Array): void {
    const { contributions, log } = this;
    const held = this.#heldBlock(rank, target);
    if (sources.length === 0) held.update(this.#rectangle(target), (sum) => (sum === empty ? zero : sum));
    for (const source of sources) {
      for (const { content, piece } of this.#readHeld(rank, row, source)) {
        const slotBits = contributions.slotsOf(content);
        if (!isGradient(slotBits) && content !== zero)
          log.add("ownership", { row, block: source }, "adds what is no gradient");
        const { at, headBegin, headEnd, isWhole } = this.#sameHeads(target, source, piece);
        const added = isWhole ? content : contributions.clip(content, headBegin, headEnd);
        held.update(at, (sum) => {
          if (!this.#holdsOnly(sum, slotBits))
            log.add("ownership", { row, block: source }, "adds one thing to another");
          return contributions.join(Math.max(sum, empty), added);
        });
      }
    }
  }

  #copy(rank: number, row: number, [target, source]: Int32Array): void {
    const held = this.#heldBlock(rank, target);
    for (const { content, piece } of this.#readHeld(rank, row, source)) {
      const { at, isWhole } = this.#sameHeads(target, source, piece);
      // Each head of a target with more heads must be what its source head is, which a sum over a group is not.
      const repeats = at.headEnd - at.headBegin > piece.headEnd - piece.headBegin;
      if (!isWhole || (content > empty && repeats))
        this.log.add("ownership", { row, block: source }, "cannot be copied to other heads");
      held.assign(at, content);
    }
  }

  #score(rank: number, row: number, [q, k, s]: Int32Array): void {
    this.#readInput(rank, row, "q", q);
    this.#readInput(rank, row, "k", k);
    const content = this.contributions.scores({ row, softmax: -1, stage: "scores" });
    this.#heldBlock(rank, s).assign(this.#rectangle(s), content);
  }

  #softmax(rank: number, row: number, [lse, ...parts]: Int32Array): void {
    const { contributions } = this;
    const lseHeld = this.#heldBlock(rank, lse);
    if (this.#backward) this.#readInput(rank, row, "lse", lse);
    // A new log-sum-exp holds the tiles of all parts; it starts from nothing, whatever was there.
    else lseHeld.assign(this.#rectangle(lse), empty);
    for (const part of parts) {
      for (const { scores, piece } of this.#readScores(rank, row, part, "scores")) {
        const probabilities = contributions.scores({ ...scores, softmax: row, stage: "probabilities" });
        this.#heldBlock(rank, part).assign(piece, probabilities);
        if (this.#backward) continue;
        const tile = contributions.tile(this.#scoredTile(scores, piece), bitOf("lse"));
        lseHeld.update(piece, (sum) => contributions.append(sum, tile, bitOf("lse")));
      }
    }
  }

  readonly #weighForward = (rank: number, row: number, [s, v, o]: Int32Array): void => {
    const { contributions } = this;
    this.#readInput(rank, row, "v", v);
    for (const { scores, piece } of this.#readScores(rank, row, s, "probabilities")) {
      this.#checkKeys(row, scores, v);
      const tile = contributions.tile(this.#scoredTile(scores, piece), bitOf("o"));
      this.#heldBlock(rank, o).update(piece, (sum) => {
        // Products can be added up only if one softmax has scaled them all.
        if (sum !== empty && sum !== zero && contributions.softmaxOf(sum) !== scores.softmax)
          this.log.add("ownership", { row, block: o }, "adds to what another softmax has scaled");
        return contributions.append(Math.max(sum, empty), tile, bitOf("o"), scores.softmax);
      });
    }
  };

  readonly #weighBackward = (rank: number, row: number, [s, v, dO, delta, dv]: Int32Array): void => {
    this.#readInput(rank, row, "v", v);
    this.#readInput(rank, row, "do", dO);
    this.#readInput(rank, row, "delta", delta);
    for (const { scores, piece } of this.#readScores(rank, row, s, "probabilities")) {
      this.#checkKeys(row, scores, v);
      const tile = this.contributions.tile(this.#scoredTile(scores, piece), bitOf("dv"));
      this.#append(rank, row, dv, tile, "dv", piece);
      this.#heldBlock(rank, s).assign(piece, this.contributions.scores({ ...scores, stage: "gradient" }));
    }
  };

  #unscore(rank: number, row: number, [s, q, k, dq, dk]: Int32Array): void {
    this.#readInput(rank, row, "q", q);
    this.#readInput(rank, row, "k", k);
    for (const { scores, piece } of this.#readScores(rank, row, s, "gradient")) {
      this.#checkKeys(row, scores, k);
      const tile = this.contributions.tile(this.#scoredTile(scores, piece), bitOf("dq") | bitOf("dk"));
      this.#append(rank, row, dq, tile, "dq", piece, piece);
      this.#append(rank, row, dk, tile, "dk", piece);
    }
  }

  #readInput(rank: number, row: number, name: string, id: number): void {
    const content = this.#inputs.get(name) as number;
    const held = this.#heldBlock(rank, id);
    const rows = this.#rectangle(id);
    if (held.holdsOnly(rows, content)) return;
    const what = held.read(rows) ? `holds something else than ${name}` : "is not held by then";
    this.log.add("availability", { row, block: id }, what);
  }

  /** All pieces of a block that must be held, and not empty. */
  #readHeld(rank: number, row: number, id: number): Piece[] {
    const pieces: Piece[] = [];
    const complete = this.#heldBlock(rank, id).read(this.#rectangle(id), (content, piece) => {
      if (content !== empty) pieces.push({ content, piece });
    });
    const rows = ({ tokenBegin, tokenEnd, headBegin, headEnd }: Rectangle) =>
      (tokenEnd - tokenBegin) * (headEnd - headBegin);
    const found = pieces.reduce((sum, { piece }) => sum + rows(piece), 0);
    if (!complete || found < rows(this.#rectangle(id)))
      this.log.add("availability", { row, block: id }, "is not held by then");
    return pieces;
  }

  #readScores(rank: number, row: number, id: number, stage: ScoreStage): { scores: ScoreContent; piece: Rectangle }[] {
    const found: { scores: ScoreContent; piece: Rectangle }[] = [];
    for (const { content, piece } of this.#readHeld(rank, row, id)) {
      const scores = this.contributions.scoresOf(content);
      if (scores?.stage === stage) found.push({ scores, piece });
      else this.log.add("availability", { row, block: id }, `holds ${scores?.stage ?? "no scores"}, not ${stage}`);
    }
    return found;
  }

  /** Scores of a key block can be multiplied only with rows of the same keys. */
  #checkKeys(row: number, scores: ScoreContent, id: number): void {
    const { kBegin, kEnd } = tileOf(this.schedule, scores.row);
    const { tokenBegin, tokenEnd } = this.#rectangle(id);
    if (tokenBegin !== kBegin || tokenEnd !== kEnd)
      this.log.add("availability", { row, block: id }, `the scores are of keys ${kBegin}:${kEnd}`);
  }

  #scoredTile({ row }: ScoreContent, { tokenBegin, tokenEnd, headBegin, headEnd }: Rectangle): ComputedTile {
    return { ...tileOf(this.schedule, row), qBegin: tokenBegin, qEnd: tokenEnd, headBegin, headEnd };
  }

  /** Changes o and lse alike; they must hold the same tiles before. */
  #mergeInto(
    rank: number,
    row: number,
    o: number,
    lse: number,
    at: Rectangle,
    change: (content: number) => number,
  ): void {
    this.#heldBlock(rank, o).updateWith(this.#heldBlock(rank, lse), at, (content, lseContent) => {
      this.#checkPair(row, o, content, lseContent, at);
      const changed = change(Math.max(content, empty));
      return [changed, changed];
    });
  }

  #checkPair(row: number, o: number, content: number, lseContent: number, { headBegin, headEnd }: Rectangle): void {
    if (content === lseContent) return;
    if (!this.contributions.haveSameTiles(content, lseContent, headBegin, headEnd))
      this.log.add("ownership", { row, block: o }, "holds other tiles than its log-sum-exp");
  }

  /** Adds a tile to the heads of a gradient that belong to those of `queries`, in all rows of the block or those given. */
  #append(
    rank: number,
    row: number,
    id: number,
    tile: number,
    slot: Slot,
    queries?: Rectangle,
    rows: Rectangle = this.#rectangle(id),
  ): void {
    const bits = bitOf(slot);
    const perHead = this.#queryHeads[this.schedule.blocks.tensor[id]];
    const { headBegin, headEnd } =
      queries === undefined
        ? this.#rectangle(id)
        : { headBegin: Math.floor(queries.headBegin / perHead), headEnd: Math.ceil(queries.headEnd / perHead) };
    this.#heldBlock(rank, id).update({ ...rows, headBegin, headEnd }, (sum) => {
      if (!this.#holdsOnly(sum, bits))
        this.log.add("ownership", { row, block: id }, `holds something else than ${slot}`);
      return this.contributions.append(Math.max(sum, empty), tile, bits);
    });
  }

  /** Whether a content is a sum of such numbers only, or nothing yet. */
  #holdsOnly(content: number, slotBits: number): boolean {
    if (content === empty || content === zero) return true;
    return slotBits === 0 ? content > empty : this.contributions.slotsOf(content) === slotBits;
  }

  /** Where a piece of `source` lies in `target`, which may have more or fewer heads, and the query heads of the piece. */
  #sameHeads(target: number, source: number, piece: Rectangle) {
    const { blocks } = this.schedule;
    const perHead = this.#queryHeads[blocks.tensor[target]];
    const headBegin = piece.headBegin * this.#queryHeads[blocks.tensor[source]];
    const headEnd = piece.headEnd * this.#queryHeads[blocks.tensor[source]];
    const at = { ...piece, headBegin: Math.floor(headBegin / perHead), headEnd: Math.ceil(headEnd / perHead) };
    return {
      at,
      headBegin,
      headEnd,
      isWhole: at.headBegin * perHead === headBegin && at.headEnd * perHead === headEnd,
    };
  }

  #heldBlock(rank: number, id: number): Held {
    const { tensor, part } = this.schedule.blocks;
    return this.held(rank, tensor[id], part[id]);
  }

  #rectangle(id: number): Rectangle {
    const { tokenBegin, tokenEnd, headBegin, headEnd } = this.schedule.blocks;
    return { tokenBegin: tokenBegin[id], tokenEnd: tokenEnd[id], headBegin: headBegin[id], headEnd: headEnd[id] };
  }
}

/** Inputs of an attend, by position: three of a forward one, six of a backward one. */
const attendInputs = ["q", "k", "v", "do", "lse", "delta"] as const;

const isGradient = (slotBits: number): boolean =>
  slotBits === bitOf("dq") || slotBits === bitOf("dk") || slotBits === bitOf("dv");

function piecesOf(held: Held, at: Rectangle): Piece[] {
  const pieces: Piece[] = [];
  held.read(at, (content, piece) => pieces.push({ content, piece }));
  return pieces;
}
