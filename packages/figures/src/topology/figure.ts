import { type Cluster, type Level, nodesOf, worldSize } from "@hsap/cluster";
import { InputError } from "@hsap/workload";
import { dot, link, type Markish, rect, ruleX, text } from "@observablehq/plot";
import { legend } from "../drawing/legend.ts";
import { columnWidth, drawPage } from "../drawing/page.ts";
import { ink, linkColours, okabeIto } from "../drawing/palette.ts";
import { heading, plotPanel } from "../drawing/panel.ts";
import { fontSize, textWidth } from "../drawing/text.ts";
import type { Figure } from "../figure.ts";
import { type Hierarchy, placeRanks } from "./hierarchy.ts";
import { type Degree, type Mechanism, mechanismsOf } from "./mechanisms.ts";

export interface TopologyInput {
  readonly cluster: Cluster;
  readonly strategy: string;
  /** The strategy's degrees, innermost first; they multiply to the cluster's ranks. */
  readonly degrees: readonly Degree[];
}

const left = 100;
const levelHeight = 30;
const busDrop = 14;
const rankHeight = 18;
const mechanismColours = [okabeIto.blue, okabeIto.green, okabeIto.skyBlue, okabeIto.black];
/** Groups of one mechanism that interleave are drawn on lines of their own, up to so many. */
const mostLines = 4;
const lineHeight = 7;

/**
 * Figure 4: the cluster's levels with bandwidth and latency of their links, and which ranks each mechanism joins.
 *
 * @throws InputError if the degrees do not multiply to the ranks.
 */
export function drawTopology({ cluster, strategy, degrees }: TopologyInput): Figure {
  const product = degrees.reduce((total, { size }) => total * size, 1);
  if (product !== worldSize(cluster)) {
    throw new InputError(`invalid degrees: ${product} ranks in all (must be the cluster's ${worldSize(cluster)})`);
  }
  const width = columnWidth.double;
  const hierarchy = placeRanks(cluster, width - left - 4);
  const mechanisms = mechanismsOf(cluster, degrees);
  const treeHeight = cluster.levels.length * levelHeight + rankHeight + 10;
  const rows = rowsOf(mechanisms, treeHeight + 26);
  const height = rows.at(-1)?.bottom ?? treeHeight;
  const box = { x: 0, y: 12, width, height, marginLeft: 0, marginRight: 0, marginTop: 0, marginBottom: 0 };
  const key = legend(
    [
      ...cluster.levels.map(({ name }, level) => ({
        label: `${name} link`,
        colour: linkColours[level % 3],
        shape: "line" as const,
      })),
      ...mechanisms.map(({ name, size }, i) => ({
        label: `${name} group of ${size}`,
        colour: mechanismColours[i % 4],
        shape: "dot" as const,
      })),
    ],
    { width },
  );
  const drawing = plotPanel(box, {
    x: { type: "identity", axis: null },
    y: { type: "identity", axis: null },
    marks: [
      ...levelMarks(cluster, hierarchy),
      ...rankMarks(hierarchy, treeHeight),
      ...rows.flatMap((row) => rowMarks(row, cluster, hierarchy)),
    ],
  });
  const svg = drawPage({
    width,
    bodyHeight: height + 16,
    title: `The hierarchical topology of cluster “${cluster.name}” and the degrees of ${strategy} on it`,
    caption: captionOf(cluster),
    legend: key,
    panels: [
      heading(0, 9, "a", "levels and their links"),
      drawing,
      heading(0, 12 + treeHeight + 17, "b", "mechanisms: ranks that exchange with each other"),
    ],
  });
  const data = { cluster, strategy, mechanisms };
  return { number: 4, name: "topology", svg, data: { ending: "json", text: `${JSON.stringify(data, null, 1)}\n` } };
}

function captionOf(cluster: Cluster): string {
  const { name, peakTflops, dtype, memoryGiB, memoryBandwidthGBps } = cluster.device;
  const nodes = nodesOf(cluster);
  const memory = [memoryGiB && `${memoryGiB} GiB`, memoryBandwidthGBps && `${memoryBandwidthGBps} GB/s`].filter(
    Boolean,
  );
  return (
    `${worldSize(cluster)} ranks in ${nodes} ${nodes === 1 ? "node" : "nodes"}; each drives one device: ${name}, ` +
    `${peakTflops} TFLOP/s in ${dtype}${memory.length > 0 ? `, memory ${memory.join(" at ")}` : ""}. Bandwidths (per rank, one ` +
    "direction; thicker links have more) and latencies are those of the cluster file, which names their sources."
  );
}

const busOf = ({ levels }: Cluster, level: number): number => (levels.length - 1 - level) * levelHeight + busDrop;

/** One bus for each unit: its members hang on it, and the thicker it is, the higher its bandwidth. */
function levelMarks(cluster: Cluster, { units, cell }: Hierarchy): Markish[] {
  const nodes = units.filter((unit) => unit.level === 0);
  const nodeTop = busOf(cluster, 0) - 9;
  const ranksTop = busOf(cluster, 0) + 12;
  const links = cluster.levels.flatMap((level, index) => {
    const here = units.filter((unit) => unit.level === index);
    const stems = here.flatMap(({ members }) => members.map((x) => ({ x: x + left })));
    const stroke = linkColours[index % linkColours.length];
    const strokeWidth = Math.min(6, Math.max(1.2, 1 + 1.4 * Math.log10(level.bandwidthGBps)));
    const y = busOf(cluster, index);
    const y2 = index === 0 ? ranksTop : index === 1 ? nodeTop : busOf(cluster, index - 1);
    const lines = [levelName(level, index), `${level.bandwidthGBps} GB/s, ${level.latencyUs} µs`];
    return [
      ruleX(stems, { x: "x", y1: y, y2, stroke, strokeWidth: Math.min(2, strokeWidth, cell * 0.25) }),
      link(here, {
        x1: ({ members }) => Math.min(...members) + left,
        x2: ({ members }) => Math.max(...members) + left,
        y1: y,
        y2: y,
        stroke,
        strokeWidth,
        strokeLinecap: "round",
      }),
      sideText(lines, y - 4),
    ];
  });
  return [nodeBoxes(nodes, nodeTop, ranksTop + rankHeight + 4), ...links];
}

const nodeBoxes = (nodes: Hierarchy["units"], y1: number, y2: number): Markish =>
  rect(nodes, { x1: ({ x1 }) => x1 + left - 1, x2: ({ x2 }) => x2 + left + 1, y1, y2, fill: ink.faint, rx: 3 });

function levelName({ name, size }: Level, level: number): string {
  if (level === 0) return `${name} joins ${size} ${size === 1 ? "rank" : "ranks"}`;
  return `${name} joins ${size} ${level === 1 ? "nodes" : "groups"}`;
}

/** Lines of text left of the drawing. */
const sideText = (lines: readonly string[], y: number): Markish =>
  text(lines, { x: 0, y: (_: string, i: number) => y + 9 * i, text: (line: string) => line, textAnchor: "start" });

function rankMarks({ ranks, units, gaps, cell }: Hierarchy, bottom: number): Markish[] {
  const y2 = bottom - 14;
  const y1 = y2 - rankHeight;
  const middle = (y1 + y2) / 2;
  const numbered = textWidth(String(ranks[ranks.length - 1].rank), { size: fontSize.label }) + 3 < cell;
  const nodes = units.filter(({ level }) => level === 0);
  const roomy = nodes.every(({ x1, x2 }) => x2 - x1 > 32);
  const half = cell / 2 - Math.min(3, cell * 0.1);
  return [
    sideText(["rank"], middle),
    rect(ranks, {
      x1: ({ x }) => x + left - half,
      x2: ({ x }) => x + left + half,
      y1,
      y2,
      fill: ink.paper,
      stroke: ink.text,
      strokeWidth: 0.6,
      rx: 1.5,
    }),
    numbered ? text(ranks, { x: ({ x }) => x + left, y: middle, text: "rank" }) : null,
    text(nodes, {
      x: ({ x1, x2 }) => (x1 + x2) / 2 + left,
      y: bottom - 3,
      text: ({ index }) => (roomy ? `node ${index}` : String(index)),
    }),
    text(gaps, { x: ({ x }) => x + left, y: middle, text: ({ left: out }) => `… ${out} …` }),
  ];
}

interface Row {
  readonly mechanism: Mechanism;
  readonly colour: string;
  /** Lines that its groups take turns on. */
  readonly lines: number;
  readonly top: number;
  readonly bottom: number;
}

function rowsOf(mechanisms: readonly Mechanism[], top: number): Row[] {
  let next = top;
  return mechanisms.map((mechanism, i) => {
    // Groups that interleave start at neighbouring ranks: as many as the stride between a group's members.
    const stride = mechanism.size > 1 ? mechanism.groups[0][1] - mechanism.groups[0][0] : 1;
    const lines = Math.min(mostLines, stride);
    const row = {
      mechanism,
      lines,
      colour: mechanismColours[i % 4],
      top: next,
      bottom: next + Math.max(22, lines * lineHeight + 6),
    };
    next = row.bottom;
    return row;
  });
}

function rowMarks({ mechanism, lines, colour, top }: Row, cluster: Cluster, { ranks }: Hierarchy): Markish[] {
  const { name, size, groups, level } = mechanism;
  const places = new Map(ranks.map(({ rank, x }) => [rank, x + left]));
  const stride = size > 1 ? groups[0][1] - groups[0][0] : 1;
  const drawn = groups.flatMap((group) => {
    const line = group[0] % stride;
    const xs = group.flatMap((rank) => places.get(rank) ?? []);
    return line < lines && xs.length > 0 ? [{ xs, y: top + 5 + line * lineHeight }] : [];
  });
  const more = stride > lines ? `; ${lines} of ${stride} shown` : "";
  const where = level === undefined ? "alone" : `over ${cluster.levels[level].name}`;
  return [
    link(drawn, {
      x1: ({ xs }) => xs[0],
      x2: ({ xs }) => xs[xs.length - 1],
      y1: "y",
      y2: "y",
      stroke: colour,
      strokeWidth: 1.6,
    }),
    dot(
      drawn.flatMap(({ xs, y }) => xs.map((x) => ({ x, y }))),
      { x: "x", y: "y", r: 2.3, fill: colour },
    ),
    sideText([`${name} = ${size}`, `${where}${more}`], top + 5),
  ];
}
