import { documentAt } from "@hsap/workload";
import type { Block } from "../block.ts";
import { homeBlocks, type Schedule, worldSizeOf } from "../schedule.ts";
import { bitOf, type ComputedTile, type Slot, slots, zero } from "./contributions.ts";
import { type CoveredColumns, type CoverFault, findCoverFault } from "./exact-cover.ts";
import { type FindingLog, rankOfRow } from "./finding.ts";
import { empty, type Rectangle } from "./held.ts";
import { valueContent } from "./layer-replay.ts";
import { queryHeadsOf } from "./operands.ts";
import type { Replay } from "./replay.ts";

/**
 * `coverage` and the rest of `ownership`, from what the owners hold in the end. In each row of an output every unmasked pair
 * must have been added exactly once. A pair that nobody computed, or that two tiles did, breaks `coverage`; a tile that was
 * computed, but whose rows did not come to their owner, or came twice, breaks `ownership`.
 */
export function checkOutputs(schedule: Schedule, replay: Replay, log: FindingLog): void {
  schedule.tensors.forEach(({ name, role }, tensor) => {
    if (role !== "output") return;
    if (replay.layer.defines(tensor)) {
      replay.layer.checkOutput(tensor);
      return;
    }
    const check = replay.outputs.get(tensor);
    if (check === undefined) {
      log.add("coverage", { rank: 0 }, `no rule says what output ${name} must hold`);
      return;
    }
    for (let rank = 0; rank < worldSizeOf(schedule); rank++) check.rank(rank);
    check.droppedTiles();
  });
}

export const isSlot = (name: string): name is Slot => (slots as readonly string[]).includes(name);

/** Columns seen from the rows of one result: keys from queries, or queries from keys with both axes turned round. */
interface View {
  readonly rows: (tile: ComputedTile) => readonly [number, number];
  readonly columns: (tile: ComputedTile) => readonly [number, number];
  readonly turned: boolean;
}

/**
 * A query sees the keys of its document up to itself. A key is seen by the queries from itself on; with both axes turned round
 * (token t becomes -1 - t) this is the same shape, so one check serves both.
 */
const fromQueries: View = {
  rows: ({ qBegin, qEnd }) => [qBegin, qEnd],
  columns: ({ kBegin, kEnd }) => [kBegin, kEnd],
  turned: false,
};
const fromKeys: View = {
  rows: ({ kBegin, kEnd }) => [kBegin, kEnd],
  columns: ({ qBegin, qEnd }) => [qBegin, qEnd],
  turned: true,
};

const turn = (begin: number, end: number, turned: boolean): [number, number] =>
  turned ? [-end, -begin] : [begin, end];

/** Judges what ranks hold of one output of attention. */
export class OutputCheck {
  readonly #view: View;
  readonly #queryHeads: number;
  readonly #causal: boolean;
  /** Rows times heads of each tile that came to their owner. */
  readonly #delivered: number[] = [];
  #faults = 0;

  constructor(
    private readonly schedule: Schedule,
    private readonly replay: Replay,
    private readonly log: FindingLog,
    private readonly tensor: number,
    private readonly slot: Slot,
  ) {
    this.#view = slot === "dk" || slot === "dv" ? fromKeys : fromQueries;
    this.#queryHeads = queryHeadsOf(schedule)[tensor];
    this.#causal = schedule.problem.mask === "causal";
  }

  rank(rank: number): void {
    for (const rows of homeBlocks(this.schedule, rank, this.slot)) this.rows(rank, rows);
  }

  /** Checks rows that must be complete by now. */
  rows(rank: number, rows: Rectangle): void {
    const { problem } = this.schedule;
    const { cuSeqlens } = problem.batch;
    const held = this.replay.held(rank, this.tensor, 0);
    // Rows that were never written become empty, so that they are visited as well.
    held.update(rows, (content) => content);
    held.read(rows, (content, piece) => {
      // What a layer has read was checked then.
      if (content === valueContent(this.tensor)) return;
      for (let token = piece.tokenBegin; token < piece.tokenEnd; ) {
        const document = documentAt(problem.batch, token);
        const tokenEnd = Math.min(piece.tokenEnd, cuSeqlens[document + 1]);
        const bounds: [number, number] = [cuSeqlens[document], cuSeqlens[document + 1]];
        this.#piece(rank, content, { ...piece, tokenBegin: token, tokenEnd }, bounds);
        token = tokenEnd;
      }
    });
  }

  /** Tiles some of whose rows were computed and then left where they were; only of interest if nothing else is wrong. */
  droppedTiles(): void {
    if (this.#faults > 0) return;
    const { tiles, tileSlots } = this.replay.contributions;
    tiles.forEach((tile, i) => {
      if ((tileSlots[i] & bitOf(this.slot)) === 0) return;
      const [begin, end] = this.#reachedRows(tile);
      const computed = (end - begin) * (tile.headEnd - tile.headBegin);
      if ((this.#delivered[i] ?? 0) < computed)
        this.log.add("ownership", { row: tile.row }, `some of its ${this.slot} does not come to the owner`);
    });
  }

  /** Checks rows of one document that hold one content. */
  #piece(rank: number, content: number, piece: Rectangle, [documentBegin, documentEnd]: [number, number]): void {
    const { contributions } = this.replay;
    const heads = [piece.headBegin * this.#queryHeads, piece.headEnd * this.#queryHeads];
    const found: { tile: number; headBegin: number; headEnd: number }[] = [];
    const cuts = new Set(heads);
    contributions.forEachTile(Math.max(content, empty), heads[0], heads[1], (tile, from, to) => {
      const headBegin = Math.max(from, contributions.tiles[tile].headBegin);
      const headEnd = Math.min(to, contributions.tiles[tile].headEnd);
      if (headBegin >= headEnd) return;
      found.push({ tile, headBegin, headEnd });
      cuts.add(headBegin).add(headEnd);
      this.#deliver(tile, piece, headEnd - headBegin);
    });
    if (content !== empty && content !== zero && (contributions.slotsOf(content) & bitOf(this.slot)) === 0) {
      this.#report("ownership", rank, piece, `holds something else than ${this.slot}`);
      return;
    }
    const rows = turn(piece.tokenBegin, piece.tokenEnd, this.#view.turned);
    const [begin, end] = turn(documentBegin, documentEnd, this.#view.turned);
    const borders = [...cuts].sort((a, b) => a - b);
    for (let i = 1; i < borders.length; i++) {
      const covered: CoveredColumns[] = [];
      for (const { tile, headBegin, headEnd } of found)
        if (headBegin < borders[i] && headEnd > borders[i - 1]) covered.push(this.#columns(tile, begin, end));
      const columns = { begin, end, causal: this.#causal };
      const fault = findCoverFault({ begin: rows[0], end: rows[1] }, columns, covered);
      if (fault !== undefined) {
        this.#explain(rank, fault, [borders[i - 1], borders[i]]);
        return;
      }
    }
  }

  #columns(tile: number, documentBegin: number, documentEnd: number): CoveredColumns {
    const computed = this.replay.contributions.tiles[tile];
    const [begin, end] = turn(...this.#view.columns(computed), this.#view.turned);
    // Pairs beyond the document or the mask are a matter of `contamination`.
    return {
      begin: Math.max(begin, documentBegin),
      end: Math.min(end, documentEnd),
      causal: this.#causal || computed.mask === "causal",
      tile,
    };
  }

  #deliver(tile: number, { tokenBegin, tokenEnd }: Rectangle, heads: number): void {
    const [begin, end] = this.#reachedRows(this.replay.contributions.tiles[tile]);
    this.#delivered[tile] =
      (this.#delivered[tile] ?? 0) + Math.max(0, Math.min(end, tokenEnd) - Math.max(begin, tokenBegin)) * heads;
  }

  /** Rows in which a tile computes anything: a causal one leaves out queries before its keys, and keys after its queries. */
  #reachedRows(tile: ComputedTile): readonly [number, number] {
    const [begin, end] = this.#view.rows(tile);
    if (tile.mask !== "causal") return [begin, end];
    const reached = this.#view.turned ? [begin, Math.min(end, tile.qEnd)] : [Math.max(begin, tile.kBegin), end];
    return reached[0] < reached[1] ? [reached[0], reached[1]] : [begin, begin];
  }

  #explain(rank: number, fault: CoverFault, [headBegin, headEnd]: [number, number]): void {
    const { tiles } = this.replay.contributions;
    const { turned } = this.#view;
    const [tokenBegin, tokenEnd] = turn(fault.rowBegin, fault.rowEnd, turned);
    const [begin, end] = turn(fault.columnBegin, fault.columnEnd, turned);
    const rows = {
      tokenBegin,
      tokenEnd,
      headBegin: Math.floor(headBegin / this.#queryHeads),
      headEnd: Math.ceil(headEnd / this.#queryHeads),
    };
    const columns = `${turned ? "queries" : "keys"} ${begin}:${end}`;
    if (fault.tiles.length === 2) {
      const [a, b] = fault.tiles.map((tile) => tiles[tile].row);
      if (a === b) {
        this.#report("ownership", rank, rows, `${columns}, from ${this.#op(a)}, are added twice`);
        return;
      }
      this.#report("coverage", rank, rows, `${columns} are computed by ${this.#op(a)} and by ${this.#op(b)}`);
      return;
    }
    const lost = tiles.findIndex((tile, i) => {
      const [rowBegin, rowEnd] = this.#view.rows(tile);
      const [columnBegin, columnEnd] = this.#view.columns(tile);
      return (
        (this.replay.contributions.tileSlots[i] & bitOf(this.slot)) !== 0 &&
        Math.max(rowBegin, tokenBegin) < Math.min(rowEnd, tokenEnd) &&
        Math.max(columnBegin, begin) < Math.min(columnEnd, end) &&
        Math.max(tile.headBegin, headBegin) < Math.min(tile.headEnd, headEnd) &&
        (tile.mask !== "causal" ||
          Math.max(tile.kBegin, turned ? tokenBegin : begin) < Math.min(tile.qEnd, turned ? end : tokenEnd))
      );
    });
    if (lost >= 0) {
      this.#report("ownership", rank, rows, `${columns}, from ${this.#op(tiles[lost].row)}, do not come here`);
      return;
    }
    this.#report("coverage", rank, rows, `${columns} are computed by nobody`);
  }

  #op(row: number): string {
    const rank = rankOfRow(this.schedule, row);
    return `op ${row - this.schedule.opBegin[rank]} of rank ${rank}`;
  }

  #report(rule: "ownership" | "coverage", rank: number, rows: Rectangle, what: string): void {
    this.#faults++;
    const { tokenBegin, tokenEnd, headBegin, headEnd } = rows;
    const block: Block = { tensor: this.slot, part: 0, tokenBegin, tokenEnd, headBegin, headEnd };
    this.log.add(rule, { rank, block }, what);
  }
}
