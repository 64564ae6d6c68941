import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import { fingerprint } from "./fingerprint.mjs";
import { readStamp, writeStamp } from "./stamp.mjs";

/** The packages' JavaScript, in packages/NAME/dist. */
export const typescript = {
  name: "TypeScript",
  isFresh: (root) =>
    packageNames(root).every((name) => hasOutput(root, name)) && readStamp(stampFile(root)) === wantedStamp(root),
  async make(root, say, run) {
    say("building the TypeScript packages");
    const wanted = wantedStamp(root);
    // One compiler for all packages is faster here than one process for each.
    await run(process.execPath, [path.join(root, "node_modules/typescript/bin/tsc"), "-b"]);
    writeStamp(stampFile(root), wanted);
  },
};

function wantedStamp(root) {
  const sources = packageNames(root).flatMap((name) =>
    ["src", "package.json", "tsconfig.json"].map((part) => `packages/${name}/${part}`),
  );
  return fingerprint(root, ["package-lock.json", "tsconfig.json", "tsconfig.base.json", ...sources]);
}

function packageNames(root) {
  const directory = path.join(root, "packages");
  return readdirSync(directory).filter((name) => existsSync(path.join(directory, name, "tsconfig.json")));
}

function hasOutput(root, name) {
  return existsSync(path.join(root, "packages", name, "dist/index.js"));
}

function stampFile(root) {
  return path.join(root, ".setup/typescript");
}
