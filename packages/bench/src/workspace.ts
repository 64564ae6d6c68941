import { fileURLToPath } from "node:url";

/** A path of this checkout: `workspacePath("results")`. */
export function workspacePath(path: string): string {
  // Both src and dist are direct children of packages/bench.
  return fileURLToPath(new URL(`../../../${path}`, import.meta.url));
}
