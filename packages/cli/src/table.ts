/** A column of a table: its title, the unit below it, and what each row shows. */
export interface Column<Row> {
  readonly title: string;
  readonly unit?: string;
  readonly align?: "left" | "right";
  readonly value: (row: Row) => string;
}

/**
 * Lays out rows under a `#` line of titles and one of units. Lines that begin with `#` are no data, so a table can be read
 * by tools that split on spaces.
 */
export function formatTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const cells = rows.map((row) => columns.map(({ value }) => value(row)));
  const heads = [columns.map(({ title }) => title), columns.map(({ unit = "" }) => (unit === "" ? "" : `(${unit})`))];
  const widths = columns.map((_, i) => Math.max(...[...heads, ...cells].map((line) => line[i].length)));
  const layOut = (line: readonly string[]) =>
    line.map((cell, i) => (columns[i].align === "left" ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join("  ");
  const lines = [...heads.map((head) => `# ${layOut(head)}`), ...cells.map((line) => `  ${layOut(line)}`)];
  return `${lines.map((line) => line.trimEnd()).join("\n")}\n`;
}

/** `12.3`, with as many digits as matter. */
export function shortNumber(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (value === 0) return "0";
  const magnitude = Math.abs(value);
  return magnitude >= 100
    ? value.toFixed(0)
    : magnitude >= 10
      ? value.toFixed(1)
      : value.toFixed(magnitude >= 1 ? 2 : 3);
}

/** `1.2e-07`; `-` where there is none. */
export function shortError(value: number | undefined): string {
  return value === undefined ? "-" : value.toExponential(1);
}

/** Bytes in MB (1e6). */
export function megabytes(bytes: number): string {
  return shortNumber(bytes / 1e6);
}
