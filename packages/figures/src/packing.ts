import { documentsOf, lengthsOf, type PackedBatch, tokensOf } from "@hsap/workload";
import { axisY, barX, line, rect, ruleX, text } from "@observablehq/plot";
import { stringify } from "csv-stringify/sync";
import { fullCount, rangeOf } from "./drawing/amount.ts";
import { bottomAxis, leftAxis, tokenTicks } from "./drawing/axes.ts";
import { legend } from "./drawing/legend.ts";
import { columnWidth, drawPage } from "./drawing/page.ts";
import { fourSteps, ink, inkOn } from "./drawing/palette.ts";
import { heading, type Panel, plotPanel } from "./drawing/panel.ts";
import { fontSize, textWidth } from "./drawing/text.ts";
import { tileCorners } from "./drawing/tile-shape.ts";
import type { Figure } from "./figure.ts";

export interface PackingInput {
  readonly batch: PackedBatch;
  /** What the documents are: `instructions, chat, code and books`. */
  readonly documents: string;
}

interface PackedDocument {
  readonly document: number;
  readonly begin: number;
  readonly end: number;
  readonly tokens: number;
  /** Causal (query, key) pairs of one head. */
  readonly pairs: number;
  readonly lengthClass: number;
}

/** Documents of like length share a colour: each class ends before the next bound (tokens). */
const classBounds = [256, 1024, 4096];
const classLabels = ["under 256 tokens", "256 to 1023", "1024 to 4095", "4096 and more"];
const masked = "#ececec";

/** Figure 1: documents of very different lengths, laid end to end in one sequence, and the mask that keeps them apart. */
export function drawPacking({ batch, documents }: PackingInput): Figure {
  const rows = packedDocuments(batch);
  const tokens = tokensOf(batch);
  const pairs = sum(rows, (row) => row.pairs);
  const share = (100 * pairs) / ((tokens * (tokens + 1)) / 2);
  const used = classLabels.flatMap((label, i) =>
    rows.some((row) => row.lengthClass === i) ? [{ label, colour: fourSteps[i] }] : [],
  );
  const key = legend([...used, { label: "pairs of two documents: never computed", colour: masked, stroke: ink.rule }], {
    width: columnWidth.double,
    title: "Document length",
  });
  const svg = drawPage({
    width: columnWidth.double,
    bodyHeight: 300,
    title: "Packing hybrid-context documents into one sequence",
    caption:
      `${documentsOf(batch)} documents (${documents}) of ${rangeOf(rows.map((row) => row.tokens))} tokens fill a pack of ` +
      `${fullCount(tokens)}. ` +
      `Causal attention inside each document needs ${share.toFixed(1)} % of the pairs that one causal mask over the whole ` +
      "pack holds (counted, one head).",
    legend: key,
    panels: [
      heading(0, 9, "a", "documents as they arrive"),
      arrivals(rows, 16),
      heading(0, 199, "b", "shares by document length"),
      shares(rows, 204),
      heading(226, 9, "c", "one packed sequence and its block-diagonal causal mask"),
      packedBar(rows, tokens, 16),
      maskPanel(rows, tokens, 36),
    ],
  });
  const columns = ["document", "begin", "end", "tokens", "pairs"];
  return { number: 1, name: "packing", svg, data: { ending: "csv", text: stringify(rows, { header: true, columns }) } };
}

function packedDocuments(batch: PackedBatch): PackedDocument[] {
  return Array.from(lengthsOf(batch), (tokens, document) => ({
    document,
    begin: batch.cuSeqlens[document],
    end: batch.cuSeqlens[document + 1],
    tokens,
    pairs: (tokens * (tokens + 1)) / 2,
    lengthClass: classBounds.filter((bound) => tokens >= bound).length,
  }));
}

const colourOf = ({ lengthClass }: PackedDocument): string => fourSteps[lengthClass];

function arrivals(rows: readonly PackedDocument[], y: number): Panel {
  const box = { x: 0, y, width: 206, height: 170, marginLeft: 30, marginRight: 12, marginTop: 2, marginBottom: 26 };
  const longest = Math.max(...rows.map(({ tokens }) => tokens));
  return plotPanel(box, {
    x: { domain: [0, longest], label: null },
    y: { domain: [rows.length, 0], label: null },
    marks: [
      rect(rows, {
        x1: 0,
        x2: "tokens",
        y1: "document",
        y2: (row: PackedDocument) => row.document + 1,
        insetTop: rows.length > 80 ? 0 : 0.5,
        fill: colourOf,
      }),
      ruleX([0], { stroke: ink.text, strokeWidth: 0.7 }),
      bottomAxis("length (tokens, k = 1024)", tokenTicks(longest, 5)),
      leftAxis("document", 26, { ticks: 5, tickFormat: "d" }),
    ],
  });
}

function packedBar(rows: readonly PackedDocument[], tokens: number, y: number): Panel {
  const box = { ...maskColumn, y, height: 14, marginTop: 0, marginBottom: 0 };
  return plotPanel(box, {
    x: { domain: [0, tokens], axis: null },
    y: { domain: [0, 1], axis: null },
    marks: [
      rect(rows, { x1: "begin", x2: "end", y1: 0, y2: 1, fill: colourOf }),
      ruleX(rows.slice(1), { x: "begin", stroke: ink.paper, strokeWidth: Math.min(0.5, 50 / rows.length) }),
    ],
  });
}

const maskColumn = { x: 226, width: 278, marginLeft: 34, marginRight: 6 };

function maskPanel(rows: readonly PackedDocument[], tokens: number, y: number): Panel {
  const side = maskColumn.width - maskColumn.marginLeft - maskColumn.marginRight;
  const box = { ...maskColumn, y, height: side + 26, marginTop: 0, marginBottom: 26 };
  const whole = tileCorners({ qBegin: 0, qEnd: tokens, kBegin: 0, kEnd: tokens, mask: "causal" });
  const triangles = rows.flatMap((row) =>
    tileCorners({ qBegin: row.begin, qEnd: row.end, kBegin: row.begin, kEnd: row.end, mask: "causal" }).map(
      (corner) => ({
        ...corner,
        document: row.document,
        colour: colourOf(row),
      }),
    ),
  );
  const closed = { x: "k", y: "q", curve: "linear-closed", stroke: "none" } as const;
  return plotPanel(box, {
    x: { domain: [0, tokens], label: null },
    y: { domain: [tokens, 0], label: null },
    marks: [
      line(whole, { ...closed, fill: masked }),
      line(triangles, { ...closed, z: "document", fill: "colour" }),
      bottomAxis("key (token of the pack, k = 1024)", tokenTicks(tokens, 8)),
      leftAxis("query (token of the pack)", 30, tokenTicks(tokens, 8)),
    ],
  });
}

function shares(rows: readonly PackedDocument[], y: number): Panel {
  const box = { x: 0, y, width: 206, height: 82, marginLeft: 52, marginRight: 12, marginTop: 4, marginBottom: 26 };
  const measures = [
    { name: "documents", of: () => 1 },
    { name: "tokens", of: (row: PackedDocument) => row.tokens },
    { name: "pairs", of: (row: PackedDocument) => row.pairs },
  ];
  const parts = measures.flatMap(({ name, of }) => {
    const total = sum(rows, of);
    let begin = 0;
    return classLabels.map((_, lengthClass) => {
      const share =
        (100 *
          sum(
            rows.filter((row) => row.lengthClass === lengthClass),
            of,
          )) /
        total;
      begin += share;
      return { name, begin: begin - share, end: begin, share, colour: fourSteps[lengthClass] };
    });
  });
  const plotWidth = box.width - box.marginLeft - box.marginRight;
  const readable = parts.filter(
    ({ share }) => (share / 100) * plotWidth > textWidth(`${share.toFixed(0)}`, { size: fontSize.label }) + 4,
  );
  return plotPanel(box, {
    x: { domain: [0, 100], label: null },
    y: { domain: measures.map(({ name }) => name), label: null, padding: 0.2 },
    marks: [
      barX(parts, { x1: "begin", x2: "end", y: "name", fill: "colour" }),
      text(readable, {
        x: ({ begin, end }) => (begin + end) / 2,
        y: "name",
        text: ({ share }) => share.toFixed(0),
        fill: ({ colour }) => inkOn(colour),
      }),
      bottomAxis("% of the pack", { ticks: 5 }),
      axisY({ tickSize: 0 }),
    ],
  });
}

function sum<T>(rows: readonly T[], of: (row: T) => number): number {
  return rows.reduce((total, row) => total + of(row), 0);
}
