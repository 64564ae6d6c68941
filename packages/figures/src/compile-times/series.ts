import type { CompileTimes, CompileTiming } from "@hsap/bench";
import { ink, okabeIto } from "../drawing/palette.ts";

/** One line of a panel, or only its points. */
export interface Series {
  readonly name: string;
  readonly colour: string;
  readonly shape: "dot" | "diamond" | "cross" | "tick";
  readonly isLine: boolean;
  readonly points: readonly { readonly x: number; readonly ms: number }[];
}

/** A part of compiling, as a legend names it. */
export interface Part {
  readonly timing: CompileTiming;
  readonly label: string;
  readonly colour: string;
  readonly shape: Series["shape"];
}

export const parts: readonly Part[] = [
  { timing: "first", label: "first call of a process", colour: ink.quiet, shape: "cross" },
  { timing: "cold", label: "all programs", colour: ink.text, shape: "dot" },
  { timing: "rank", label: "one rank's program", colour: ink.text, shape: "diamond" },
  { timing: "cached", label: "cached", colour: ink.text, shape: "tick" },
];

/** No more than so many milliseconds for so many ranks. */
export interface Aim {
  readonly fromRanks: number;
  readonly toRanks: number;
  readonly ms: number;
}

/** What the project aims at. */
export const aims: Readonly<Record<"cold" | "cached", readonly Aim[]>> = {
  cold: [
    { fromRanks: 8, toRanks: 64, ms: 5 },
    { fromRanks: 128, toRanks: 1024, ms: 100 },
  ],
  cached: [{ fromRanks: 8, toRanks: 1024, ms: 0.1 }],
};

const colours = [
  okabeIto.orange,
  okabeIto.skyBlue,
  okabeIto.green,
  okabeIto.blue,
  okabeIto.vermilion,
  okabeIto.purple,
  okabeIto.yellow,
  okabeIto.black,
] as const;

/** The mixes that packs are of, by name. */
export const mixesOf = (rows: readonly CompileTimes[]): string[] => [...new Set(rows.map(mixOf))].sort();

export const isDrawn = (rows: readonly CompileTimes[], timing: CompileTiming): boolean =>
  rows.some(({ compileMs }) => compileMs[timing] !== undefined);

/** A line for each mix: all programs, by ranks. */
export const mixSeries = (rows: readonly CompileTimes[]): Series[] => seriesByMix(rows, true, ({ ranks }) => ranks);

/** The same times by documents, without lines: neighbours need not have as many ranks. */
export const documentSeries = (rows: readonly CompileTimes[]): Series[] =>
  seriesByMix(rows, false, ({ documents }) => documents);

/** A line for each part of compiling the packs of one mix, by ranks. */
export function partSeries(rows: readonly CompileTimes[], mix: string): Series[] {
  const ofMix = rows.filter((row) => mixOf(row) === mix);
  return parts
    .filter(({ timing }) => isDrawn(ofMix, timing))
    .map(({ timing, label, colour, shape }) => ({
      ...{ name: label, colour, shape, isLine: true },
      points: slowerPass(ofMix, timing, ({ ranks }) => ranks),
    }));
}

function seriesByMix(rows: readonly CompileTimes[], isLine: boolean, x: (row: CompileTimes) => number): Series[] {
  return mixesOf(rows).map((name, i) => ({
    ...{ name, colour: colours[i % colours.length], shape: "dot", isLine },
    points: slowerPass(
      rows.filter((row) => mixOf(row) === name),
      "cold",
      x,
    ),
  }));
}

/** The median of the slower pass of each pack, in order of `x`. */
function slowerPass(rows: readonly CompileTimes[], timing: CompileTiming, x: (row: CompileTimes) => number) {
  const packs = new Map<string, { x: number; ms: number }>();
  for (const row of rows) {
    const ms = row.compileMs[timing]?.p50;
    if (ms !== undefined) packs.set(row.pack, { x: x(row), ms: Math.max(ms, packs.get(row.pack)?.ms ?? 0) });
  }
  return [...packs.values()].sort((a, b) => a.x - b.x);
}

const mixOf = ({ pack }: CompileTimes): string => pack.slice(0, pack.lastIndexOf("-"));
