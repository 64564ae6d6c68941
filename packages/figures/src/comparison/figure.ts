import type { ComparedStrategy, Comparison } from "@hsap/bench";
import { nodesOf } from "@hsap/cluster";
import { ranksOf } from "@hsap/schedule";
import { documentsOf, InputError, tokensOf } from "@hsap/workload";
import { text } from "@observablehq/plot";
import { fullCount } from "../drawing/amount.ts";
import { type LegendEntry, legend } from "../drawing/legend.ts";
import { columnWidth, drawPage } from "../drawing/page.ts";
import { headings, type Panel, plotPanel } from "../drawing/panel.ts";
import { fontSize, textWidth } from "../drawing/text.ts";
import { axisHeight, type Column, colour, columnPanel, columnsOf, rowHeight } from "./columns.ts";

const top = 24;

/**
 * All strategies on one problem, in the order of the comparison's rows: time where measured, balance, bytes and memory, with the
 * bounds as dashes. Returns the SVG.
 *
 * @throws InputError if no strategy is left to be shown.
 */
export function drawComparison(comparison: Comparison): string {
  const { rows } = comparison;
  if (rows.length === 0) throw new InputError("invalid comparison: no strategy is left to be shown");
  const width = columnWidth.double;
  const labels = labelPanel(rows);
  const columns = columnsOf(comparison);
  const columnRoom = (width - labels.width) / columns.length;
  const panels = columns.flatMap((column, i) => {
    const x = labels.width + i * columnRoom;
    return [
      ...headings(x, 0, "abcdef"[i], column.title, column.subtitle),
      columnPanel(column, rows, { x, y: top, width: columnRoom }),
    ];
  });
  return drawPage({
    width,
    bodyHeight: top + rows.length * rowHeight + axisHeight,
    title: "All strategies on one problem",
    caption: captionOf(comparison),
    legend: legend(legendOf(columns), { width }),
    panels: [labels, ...panels],
  });
}

/** Names of the variants, left of the columns. */
function labelPanel(rows: readonly ComparedStrategy[]): Panel & { readonly width: number } {
  const isHsap = ({ strategy }: ComparedStrategy) => strategy === "hsap";
  const widths = rows.map((row) => textWidth(labelOf(row), { size: fontSize.label, bold: isHsap(row) }));
  const width = Math.max(...widths) + 6;
  const height = rows.length * rowHeight + axisHeight;
  const box = { x: 0, y: top, width, height, marginLeft: 0, marginRight: 0, marginTop: 0, marginBottom: axisHeight };
  const placed = rows.map((row, i) => ({ row, y: (i + 0.5) * rowHeight }));
  const marks = [true, false].map((bold) =>
    text(
      placed.filter(({ row }) => isHsap(row) === bold),
      { x: 0, y: "y", text: ({ row }) => labelOf(row), textAnchor: "start", fontWeight: bold ? "bold" : "normal" },
    ),
  );
  const axes = { x: { type: "identity", axis: null }, y: { type: "identity", axis: null } } as const;
  return { ...plotPanel(box, { ...axes, marks }), width };
}

/** The variant; an option that is set is its name alone, so that the columns keep their room. */
const labelOf = ({ variant }: ComparedStrategy): string => variant.replaceAll("=true", "");

function legendOf(columns: readonly Column[]): LegendEntry[] {
  return [
    ...(columns.some(({ origin }) => origin === "measured")
      ? [{ label: "measured", colour: colour.measured, shape: "dot" as const }]
      : []),
    { label: "counted: mean of ranks, or one value", colour: colour.counted, shape: "dot" },
    { label: "counted: highest rank", colour: colour.counted, shape: "tick" },
    ...(columns.some(({ bound }) => bound !== undefined)
      ? [{ label: "bound for equal area a rank and unsplit heads", colour: colour.bound, shape: "dashes" as const }]
      : []),
  ];
}

function captionOf({ problem, rows, refused, tooLarge }: Comparison): string {
  const { shape, batch, cluster, pass, mask } = problem;
  const { heads, kvHeads, headDim, dtype } = shape;
  const contaminated = rows.filter(({ contaminatedArea }) => contaminatedArea > 0).map(({ strategy }) => strategy);
  const missing = [...refused, ...tooLarge].map(({ strategy }) => strategy);
  const sentences = [
    `${documentsOf(batch)} documents of ${fullCount(tokensOf(batch))} tokens together, ${ranksOf(problem)} ranks in ` +
      `${nodesOf(cluster)} nodes (${cluster.name}), ${heads} query and ${kvHeads} kv heads of ${headDim}, ${dtype}, ${mask}, ${pass}.`,
    ...(contaminated.length > 0 ? [`Contaminated across documents: ${contaminated.join(", ")}.`] : []),
    ...(missing.length > 0 ? [`Not shown, as they refuse the problem or are too large: ${missing.join(", ")}.`] : []),
  ];
  return sentences.join(" ");
}
