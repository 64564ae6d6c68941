import { axisX, axisY, cell, ruleX, ruleY, text } from "@observablehq/plot";
import { labelNumber, type Unit } from "../drawing/amount.ts";
import { amountSteps, ink, inkOn } from "../drawing/palette.ts";
import { type Panel, plotPanel } from "../drawing/panel.ts";
import type { Decisions, Transfers } from "./decisions.ts";

export interface TransferPanelOptions {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly unit: Unit;
}

/** Bytes from each rank (columns) to each rank (rows); thick lines are borders of nodes. */
export function transferPanel({ transfers, ranks, ranksPerNode }: Decisions, options: TransferPanelOptions): Panel {
  const { unit, ...place } = options;
  const box = { ...place, marginLeft: 26, marginRight: 2, marginTop: 21, marginBottom: 2 };
  const most = Math.max(...transfers.map(({ bytes }) => bytes));
  const colourOf = ({ bytes }: Transfers) => amountSteps[Math.min(3, Math.floor((4 * bytes) / most))];
  const all = Array.from({ length: ranks }, (_, rank) => rank);
  const roomy = (box.height - box.marginTop) / ranks >= 9 && (box.width - box.marginLeft) / ranks >= 18;
  const ticks = roomy ? all : all.filter((rank) => rank % ranksPerNode === 0);
  const borders = all.filter((rank) => rank > 0 && rank % ranksPerNode === 0);
  // A border lies before a band, half the band's width to the left of the middle at which a rule is drawn.
  const half = {
    x: (box.width - box.marginLeft - box.marginRight) / ranks / 2,
    y: (box.height - box.marginTop - box.marginBottom) / ranks / 2,
  };
  const diagonal = all.map((rank) => ({ from: rank, to: rank }));
  const axis = { ticks, tickSize: 0, tickPadding: 3, labelAnchor: "center", labelArrow: "none" } as const;
  return plotPanel(box, {
    x: { type: "band", domain: all, padding: 0, round: false, label: null },
    y: { type: "band", domain: all, padding: 0, round: false, label: null },
    marks: [
      cell(diagonal, { x: "from", y: "to", fill: ink.faint }),
      cell(transfers, { x: "from", y: "to", fill: colourOf, inset: roomy ? 0.4 : 0 }),
      roomy
        ? text(transfers, {
            x: "from",
            y: "to",
            text: ({ bytes }: Transfers) => labelNumber(bytes / unit.size),
            fill: (transfer: Transfers) => inkOn(colourOf(transfer)),
          })
        : null,
      ruleX(borders, { dx: -half.x, stroke: ink.text, strokeWidth: roomy ? 1.1 : 0.4 }),
      ruleY(borders, { dy: -half.y, stroke: ink.text, strokeWidth: roomy ? 1.1 : 0.4 }),
      axisX({ ...axis, anchor: "top", label: "from rank", labelOffset: 21 }),
      axisY({ ...axis, label: "to rank", labelOffset: 22 }),
    ],
  });
}
