import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

/** Weighs 250 MB, so it is no dependency: it is installed when it is asked for, into a place of its own. */
const peer = { name: "onnxruntime-node", version: "1.23.2" };

/**
 * Loads onnxruntime-node from `.setup/peer`, and installs it there first if it is missing. Install scripts are skipped: the
 * peer's would download libraries for GPUs, and the package already holds those for the CPU.
 *
 * @throws Error in one line if it cannot be installed or loaded.
 */
export function loadPeer(root, say) {
  const place = path.join(root, ".setup/peer");
  if (installedVersion(place) !== peer.version) install(place, say);
  try {
    return { ...peer, module: createRequire(path.join(place, "package.json"))(peer.name) };
  } catch (error) {
    throw new Error(
      `cannot load ${peer.name} ${peer.version}: ${error.message.split("\n")[0]} (remove .setup/peer and try again)`,
    );
  }
}

function installedVersion(place) {
  const manifest = path.join(place, "node_modules", peer.name, "package.json");
  return existsSync(manifest) ? JSON.parse(readFileSync(manifest, "utf8")).version : undefined;
}

function install(place, say) {
  say(`installing ${peer.name} ${peer.version} into .setup/peer (250 MB)`);
  mkdirSync(place, { recursive: true });
  writeFileSync(path.join(place, "package.json"), `${JSON.stringify({ private: true })}\n`);
  const options = [
    "install",
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--no-save",
    `${peer.name}@${peer.version}`,
  ];
  const { status, error } = spawnSync("npm", options, { cwd: place, stdio: ["ignore", 2, 2] });
  if (status !== 0) {
    throw new Error(
      `cannot install ${peer.name} ${peer.version}: npm ${error ? error.message : `ended with ${status}`} (is the registry in reach?)`,
    );
  }
}
