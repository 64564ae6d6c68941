import { readFileSync } from "node:fs";
import path from "node:path";
import { fingerprint } from "./fingerprint.mjs";
import { readStamp, writeStamp } from "./stamp.mjs";

/** The locked npm packages, in node_modules. */
export const packages = {
  name: "packages",
  isFresh: (root) => readStamp(stampFile(root)) === wantedStamp(root) || adoptInstalled(root),
  async make(root, say, run) {
    say("installing the locked packages");
    // No package of ours needs its install script, and some are slow or reach out of the registry.
    await run(...npm("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"));
    writeStamp(stampFile(root), wantedStamp(root));
  },
};

function wantedStamp(root) {
  return fingerprint(root, ["package-lock.json"], `${process.platform}-${process.arch}`);
}

function stampFile(root) {
  return path.join(root, "node_modules/.hsap-packages");
}

/**
 * Whether somebody installed just the locked packages already, with `npm install` or `npm ci` by hand; if so, says that in
 * the stamp. npm writes its own list of what it installed last, so an interrupted installation has none or an old one.
 */
function adoptInstalled(root) {
  const locked = readLock(path.join(root, "package-lock.json"));
  const installed = readLock(path.join(root, "node_modules/.package-lock.json"));
  if (!locked || !installed) return false;
  const wanted = Object.entries(locked.packages).filter(([name]) => name.startsWith("node_modules/"));
  const same = wanted.every(([name, { version, integrity, link, optional, peer }]) => {
    const found = installed.packages[name];
    if (!found) return Boolean(optional || peer);
    return Boolean(link) === Boolean(found.link) && version === found.version && integrity === found.integrity;
  });
  if (same) writeStamp(stampFile(root), wantedStamp(root));
  return same;
}

function readLock(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return undefined;
  }
}

/** The npm that started us, if one did: it is the one that belongs to this Node. */
function npm(...options) {
  const script = process.env.npm_execpath;
  return script?.endsWith(".js") ? [process.execPath, [script, ...options]] : ["npm", options];
}
