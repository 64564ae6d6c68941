import { line, rect, ruleX, ruleY, text } from "@observablehq/plot";
import { bottomAxis, leftAxis, tokenTicks } from "../drawing/axes.ts";
import { ink, inkOn } from "../drawing/palette.ts";
import { type Panel, plotPanel } from "../drawing/panel.ts";
import { fontSize, textWidth } from "../drawing/text.ts";
import { tileCorners } from "../drawing/tile-shape.ts";
import type { Decisions } from "./decisions.ts";

export interface MaskPanelOptions {
  readonly x: number;
  readonly y: number;
  /** Side of the mask itself, in points. */
  readonly side: number;
  readonly colours: readonly string[];
  /** Where documents begin and end. */
  readonly cuSeqlens: Int32Array;
}

const margin = { left: 48, top: 11, right: 6, bottom: 26 };
const strip = 7;

/** The mask cut in tiles, each in the colour of the rank that computes it; owners of keys on top, of queries on the left. */
export function maskPanels(decisions: Decisions, { x, y, side, colours, cuSeqlens }: MaskPanelOptions): Panel[] {
  const { tokens, tiles, owners } = decisions;
  const corners = tiles.flatMap((tile, index) =>
    tileCorners(tile).map((corner) => ({ ...corner, index, colour: colours[tile.rank] })),
  );
  const documentBorders = [...cuSeqlens.subarray(1, -1)].map((border, i) => ({
    border,
    from: cuSeqlens[i],
    to: cuSeqlens[i + 2],
  }));
  const scale = { domain: [0, tokens], label: null };
  const downwards = { domain: [tokens, 0], label: null };
  const outline = { stroke: ink.paper, strokeWidth: 0.35, strokeLinejoin: "round" } as const;
  const box = {
    x,
    y,
    width: side + margin.left + margin.right,
    height: side + margin.top + margin.bottom,
    marginLeft: margin.left,
    marginRight: margin.right,
    marginTop: margin.top,
    marginBottom: margin.bottom,
  };
  const mask = plotPanel(box, {
    x: scale,
    y: downwards,
    marks: [
      ruleX(documentBorders, { x: "border", y1: "from", y2: "to", stroke: ink.rule, strokeWidth: 0.4 }),
      ruleY(documentBorders, { y: "border", x1: "from", x2: "to", stroke: ink.rule, strokeWidth: 0.4 }),
      line(corners, { x: "k", y: "q", z: "index", curve: "linear-closed", fill: "colour", ...outline }),
      text(labelled(decisions, side), {
        x: "k",
        y: "q",
        text: "rank",
        fill: ({ rank }: { rank: number }) => inkOn(colours[rank]),
      }),
      bottomAxis("key (token of the pack, k = 1024)", tokenTicks(tokens, 8)),
      leftAxis("query (token of the pack)", 36, { ...tokenTicks(tokens, 8), dx: -strip - 2 }),
    ],
  });
  const fill = ({ rank }: { rank: number }) => colours[rank];
  const keys = plotPanel(
    { ...box, y: y + margin.top - strip - 2, height: strip, marginTop: 0, marginBottom: 0 },
    {
      x: { ...scale, axis: null },
      y: { domain: [0, 1], axis: null },
      marks: [rect(owners, { x1: "begin", x2: "end", y1: 0, y2: 1, fill })],
    },
  );
  const queries = plotPanel(
    { ...box, x: x + margin.left - strip - 2, width: strip, marginLeft: 0, marginRight: 0 },
    {
      x: { domain: [0, 1], axis: null },
      y: { ...downwards, axis: null },
      marks: [rect(owners, { y1: "begin", y2: "end", x1: 0, x2: 1, fill })],
    },
  );
  return [mask, keys, queries];
}

/** Rank numbers on tiles that have the room. */
function labelled({ tiles, tokens }: Decisions, side: number): { k: number; q: number; rank: number }[] {
  const points = (count: number) => (count * side) / tokens;
  return tiles.flatMap((tile) => {
    const width = points(tile.kEnd - tile.kBegin);
    const height = points(tile.qEnd - tile.qBegin);
    const causal = tile.mask === "causal";
    const needed = { width: textWidth(String(tile.rank), { size: fontSize.label }) + 3, height: fontSize.label + 1 };
    // The centre of mass of a triangle is a third from its right angle, and a label there needs twice the side.
    const room = causal ? 2.2 : 1;
    if (width < needed.width * room || height < needed.height * room) return [];
    const third = causal && tile.kBegin === tile.qBegin ? 1 / 3 : 1 / 2;
    const k = tile.kBegin + (tile.kEnd - tile.kBegin) * third;
    const q = tile.qEnd - (tile.qEnd - tile.qBegin) * third;
    return [{ k, q, rank: tile.rank }];
  });
}
