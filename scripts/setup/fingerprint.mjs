import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";

const ignored = new Set(["node_modules", "dist", "build", ".nx"]);

/**
 * A hash of the files at or below the given paths (relative to `root`): of their names and contents, not their times, so
 * that a fresh checkout of the same commit has the same one. Paths that do not exist, and folders whose name is a build
 * output's, count as absent. `extra` goes into the hash too.
 */
export function fingerprint(root, paths, extra = "") {
  const hash = createHash("sha256").update(extra);
  for (const file of paths.flatMap((name) => filesBelow(root, name))) {
    const content = readFileSync(path.join(root, file));
    // With its length said first, no content can pass for the next file.
    hash.update(`\0${file}\0${content.length}\0`).update(content);
  }
  return hash.digest("hex");
}

function filesBelow(root, name) {
  let entries;
  try {
    entries = readdirSync(path.join(root, name), { withFileTypes: true });
  } catch (error) {
    if (error.code === "ENOTDIR") return [name];
    if (error.code === "ENOENT") return [];
    throw error;
  }
  return entries
    .filter((entry) => !ignored.has(entry.name) && !entry.name.startsWith("build-"))
    .map((entry) => path.join(name, entry.name))
    .sort()
    .flatMap((inner) => filesBelow(root, inner));
}
