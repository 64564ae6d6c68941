/** A table in Markdown. Columns of words, by default the first, stand to the left, numbers to the right. */
export function markdownTable(
  titles: readonly string[],
  rows: readonly (readonly string[])[],
  words: readonly string[] = titles.slice(0, 1),
): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const rule = `|${titles.map((title) => (words.includes(title) ? "---" : "---:")).join("|")}|`;
  return [line(titles), rule, ...rows.map(line)].join("\n");
}
