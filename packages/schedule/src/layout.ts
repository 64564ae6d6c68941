import type { TokenRange } from "./block.ts";
import type { Layout } from "./schedule.ts";

/** Cuts `tokens` into `pieces` contiguous ranges whose sizes differ by at most one, the longer ones first. */
export function evenRanges(tokens: number, pieces: number): TokenRange[] {
  return Array.from({ length: pieces }, (_, i) => evenRange(tokens, pieces, i));
}

/** One of them alone. */
export function evenRange(tokens: number, pieces: number, i: number): TokenRange {
  const size = Math.floor(tokens / pieces);
  const longer = tokens % pieces;
  const begin = i * size + Math.min(i, longer);
  return { begin, end: begin + size + (i < longer ? 1 : 0) };
}

/** Makes a layout from each rank's ranges in any order: sorts them, drops empty ones, joins neighbours. */
export function layoutOf(ranges: readonly (readonly TokenRange[])[]): Layout {
  return ranges.map((owned) => {
    const joined: { begin: number; end: number }[] = [];
    for (const { begin, end } of owned.filter((range) => range.end > range.begin).sort((a, b) => a.begin - b.begin)) {
      const last = joined.at(-1);
      if (last !== undefined && last.end === begin) last.end = end;
      else joined.push({ begin, end });
    }
    return joined;
  });
}
