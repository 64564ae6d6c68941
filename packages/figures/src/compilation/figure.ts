import type { Schedule } from "@hsap/schedule";
import { documentsOf } from "@hsap/workload";
import { byteUnit, fullCount } from "../drawing/amount.ts";
import { type LegendEntry, legend } from "../drawing/legend.ts";
import { columnWidth, drawPage } from "../drawing/page.ts";
import { linkColours, rankColours } from "../drawing/palette.ts";
import { heading } from "../drawing/panel.ts";
import type { Figure } from "../figure.ts";
import { type Decisions, decisionsOf } from "./decisions.ts";
import { loadPanels } from "./load-panels.ts";
import { maskPanels } from "./mask-panel.ts";
import { transferPanel } from "./transfer-panel.ts";

export interface CompilationInput {
  readonly schedule: Schedule;
}

/** Figure 3: what the compilation decides: who owns which tokens, who computes which tile, and what travels. */
export function drawCompilation({ schedule }: CompilationInput): Figure {
  const decisions = decisionsOf(schedule);
  const { ranks, ranksPerNode, loads } = decisions;
  const colours = rankColours(ranks, ranksPerNode);
  const unit = byteUnit(Math.max(...loads.map((load) => load.insideNodeBytes + load.betweenNodesBytes)));
  const right = 274;
  const width = columnWidth.double - right;
  const svg = drawPage({
    width: columnWidth.double,
    bodyHeight: 278,
    title: `What the compilation decides: blocks, owners and transfers of one ${schedule.strategy} schedule`,
    caption: captionOf(schedule, decisions),
    legend: legend(rankEntries(decisions, colours), { width: columnWidth.double, title: "Rank" }),
    panels: [
      heading(0, 9, "a", "tiles by the rank that computes them, owners on the edges"),
      ...maskPanels(decisions, { x: 0, y: 14, side: 216, colours, cuSeqlens: schedule.problem.batch.cuSeqlens }),
      heading(right, 9, "b", `transfers between ranks (${unit.name})`),
      transferPanel(decisions, { x: right, y: 14, width, height: 126, unit }),
      heading(right, 159, "c", "load of each rank"),
      loadPanels(decisions, { x: right, y: 164, width, height: 96, colours, unit }),
      legend(
        [
          { label: "received inside the node", colour: linkColours[0] },
          { label: "received from another node", colour: linkColours[1] },
        ],
        { x: right, y: 265, width },
      ),
    ].flat(),
  });
  const { tiles, owners, transfers } = decisions;
  const data = { degrees: schedule.degrees, owners, tiles, transfers, loads };
  return { number: 3, name: "compilation", svg, data: { ending: "json", text: `${JSON.stringify(data, null, 1)}\n` } };
}

function captionOf(
  { problem, degrees }: Schedule,
  { tokens, ranks, ranksPerNode, loads, transfers }: Decisions,
): string {
  const nodes = Math.ceil(ranks / ranksPerNode);
  const named = Object.entries(degrees).map(([name, value]) => `${name} ${value}`);
  const most = Math.max(...loads.map(({ area }) => area));
  const mean = loads.reduce((sum, { area }) => sum + area, 0) / ranks;
  const between = transfers.reduce((sum, { level, bytes }) => sum + (level > 0 ? bytes : 0), 0);
  const unit = byteUnit(between);
  const { heads, kvHeads, headDim, dtype } = problem.shape;
  return (
    `${problem.pass === "forward" ? "Forward" : "Backward"} pass over ${documentsOf(problem.batch)} documents, ${fullCount(tokens)} tokens, ` +
    `${ranks} ranks in ${nodes} ${nodes === 1 ? "node" : "nodes"}, degrees ${named.join(" x ")}; ${heads} query and ${kvHeads} kv heads ` +
    `of ${headDim}, ${dtype}. Balance of area ${(most / mean).toFixed(2)}; ${(between / unit.size).toFixed(2)} ${unit.name} cross ` +
    "nodes. All numbers are counted from the schedule; tiles of the first head."
  );
}

/** All ranks by number, or one entry a node where they are many. */
function rankEntries({ ranks, ranksPerNode }: Decisions, colours: readonly string[]): LegendEntry[] {
  const nodes = Math.ceil(ranks / ranksPerNode);
  if (ranks > 16) {
    return Array.from({ length: nodes }, (_, node) => ({
      label: `${node * ranksPerNode} to ${Math.min((node + 1) * ranksPerNode, ranks) - 1} (node ${node})`,
      colour: colours[node * ranksPerNode],
    }));
  }
  return colours.map((colour, rank) => ({
    label: nodes > 1 && rank % ranksPerNode === 0 ? `${rank} (node ${rank / ranksPerNode})` : String(rank),
    colour,
  }));
}
