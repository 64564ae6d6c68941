import { formatDegrees } from "@hsap/bench";
import { type LongestDegrees, memoryKinds, type RankMemory, type Recomputation } from "@hsap/model";
import { type Column, formatTable, shortNumber } from "./table.ts";

/** The longest step of one strategy, or why it cannot split the model so. */
export type LongestRow = {
  readonly cluster: string;
  readonly device: string;
  readonly memoryGiB: number;
  readonly model: string;
  readonly ranks: number;
  readonly strategy: string;
  readonly weights: "replicated" | "grouped" | "sharded" | "own";
  readonly recompute: Recomputation;
  /** Tokens of a step are a multiple of it. */
  readonly grain: number;
} & (LongestDegrees | { readonly refusal: string });

type FoundRow = Exclude<LongestRow, { refusal: string }>;

/** Rows of longest steps: what their memory is filled with, and what the next step would need. */
export function formatLongest(rows: readonly LongestRow[]): string {
  const shown = (value: (row: FoundRow) => string) => (row: LongestRow) => ("refusal" in row ? "-" : value(row));
  const gibibytes = (bytes: number | undefined) => (bytes === undefined ? "-" : shortNumber(bytes / 2 ** 30));
  const columns: Column<LongestRow>[] = [
    { title: "device", align: "left", value: ({ device }) => device.replaceAll(" ", "-") },
    { title: "memory", unit: "GiB", value: ({ memoryGiB }) => String(memoryGiB) },
    { title: "model", align: "left", value: ({ model }) => model },
    { title: "ranks", value: ({ ranks }) => String(ranks) },
    { title: "strategy", align: "left", value: ({ strategy }) => strategy },
    { title: "weights", align: "left", value: ({ weights }) => weights },
    { title: "recompute", align: "left", value: ({ recompute }) => recompute },
    { title: "degrees", align: "left", value: shown(({ degrees }) => formatDegrees(degrees)) },
    { title: "tokens", value: shown(({ tokens }) => String(tokens)) },
    { title: "tokens", unit: "/rank", value: shown(({ tokens, ranks }) => String(tokens / ranks)) },
    ...memoryKinds.map(
      (kind): Column<LongestRow> => ({
        ...{ title: kind, unit: "GiB" },
        value: shown(({ memory }) => gibibytes(memory?.[kind])),
      }),
    ),
    { title: "total", unit: "GiB", value: shown(({ memory }) => gibibytes(memory?.total)) },
    { title: "next", unit: "GiB", value: shown(({ next }) => gibibytes(next?.total)) },
    { title: "most for", align: "left", value: shown(({ memory, next }) => largestKind(memory ?? next)) },
    { title: "refusal", align: "left", value: (row) => ("refusal" in row ? row.refusal : "-") },
  ];
  return formatTable(columns, rows);
}

/** What fills most of the device. */
const largestKind = (memory: RankMemory | undefined): string =>
  memory === undefined ? "-" : memoryKinds.reduce((most, kind) => (memory[kind] > memory[most] ? kind : most));
