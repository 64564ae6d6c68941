import { readFileSync } from "node:fs";

/**
 * Start time of process `pid` in kernel ticks, which tells it from a later one that was given its id; undefined if there is none, or
 * no /proc. A zombie counts as gone.
 */
export function startTimeOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name in parentheses may hold anything, so fields are counted from its end: state is the third, start the 22nd.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? undefined : fields[19];
  } catch {
    return undefined;
  }
}
