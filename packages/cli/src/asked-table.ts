import { markdownTable } from "./markdown-table.ts";

/** A figure that the project asks of itself. */
export interface Asked {
  readonly what: string;
  readonly asked: string;
  readonly reached: string;
  readonly met: boolean;
}

export const askedTable = (rows: readonly Asked[]): string =>
  markdownTable(
    ["what", "asked", "reached", "met"],
    rows.map(({ what, asked, reached, met }) => [what, asked, reached, met ? "yes" : "no"]),
    ["what", "asked", "reached", "met"],
  );
