import { accessSync, constants, existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ClusterError } from "./cluster-error.mjs";
import { namespaceOf, nodeNames } from "./layout.mjs";

/**
 * The quota is handed out in periods this long: short beside a step, so that its time is not one of a few steps of a staircase, but
 * long enough for the smallest quota that there is, of 1 ms.
 */
const periodOf = (share) => Math.max(10_000, Math.ceil(1000 / share));

/**
 * The share of a core each device gets if none is asked for: all devices together leave a fifth of the machine to the
 * network, the launcher and the system, so that each always gets its share.
 */
export const defaultShare = (devices) =>
  Math.min(1, Math.floor((os.availableParallelism() * 0.8 * 1000) / devices) / 1000);

/**
 * Makes a cgroup for each device, with a fixed share of a core, which the threads that compute for a rank join. The threads
 * that move data stay outside: a network card and a copy engine take nothing from the processor of a device.
 *
 * @param {import("./layout.mjs").ClusterWish} wish
 * @returns {{ threads: string, processes: string | undefined }} `threads` is the file that a thread of device D on the host named
 *   H joins by writing 0 to it, with `%h` for H and `%r` for D; in version 2 a process must have joined `processes` before
 */
export function makeDeviceShares(journal, { name, nodes, devices, share }, { root, version } = controllerRoot()) {
  const periodUs = periodOf(share);
  const quotaUs = Math.round(periodUs * share);
  const top = path.join(root, `hsap-${name}`);
  const make = (folder) => {
    journal.note({ kind: "cgroup", folder });
    mkdirSync(folder);
    if (version === 2 && folder !== top) beThreaded(folder);
  };
  make(top);
  // Threads that move data go before those that compute, when both want a core, as network cards and copy engines would. In
  // version 2 they are in `top` itself.
  if (version === 1) writeFileSync(path.join(top, "cpu.shares"), "32");
  for (const node of nodeNames(nodes)) {
    const host = path.join(top, namespaceOf(name, node));
    make(host);
    if (version === 2) writeFileSync(path.join(host, "cpu.weight"), "3");
    for (let device = 0; device < devices; device++) {
      const folder = path.join(host, `device${device}`);
      make(folder);
      if (version === 1) {
        writeFileSync(path.join(folder, "cpu.cfs_period_us"), String(periodUs));
        writeFileSync(path.join(folder, "cpu.cfs_quota_us"), String(quotaUs));
      } else {
        writeFileSync(path.join(folder, "cpu.max"), `${quotaUs} ${periodUs}`);
      }
    }
  }
  const device = path.join(top, "%h", "device%r");
  if (version === 1) return { threads: path.join(device, "tasks"), processes: undefined };
  return { threads: path.join(device, "cgroup.threads"), processes: path.join(top, "cgroup.procs") };
}

/** Removes a cgroup that was made; waits a little for processes that are about to end. */
export async function removeCgroup(folder) {
  for (const end = Date.now() + 3000; existsSync(folder); await sleep(20)) {
    try {
      rmdirSync(folder);
    } catch (error) {
      if (error.code !== "EBUSY" || Date.now() > end) {
        throw new ClusterError(`cannot remove cgroup ${folder} (${error.message})`);
      }
    }
  }
}

/**
 * Where cgroups with a limit on cpu time can be made, and which version they are.
 *
 * @throws ClusterError if there is no such place.
 */
export function controllerRoot() {
  const mounts = readFileSync("/proc/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" "));
  const first = mounts.find(([, , type, options]) => type === "cgroup" && options.split(",").includes("cpu"));
  if (first !== undefined) {
    checkWritable(first[1]);
    return { root: first[1], version: 1 };
  }
  const second = mounts.find(([, , type]) => type === "cgroup2");
  if (second === undefined) throw new ClusterError("no cgroups are mounted (each device needs a share of a core)");
  const controllers = readFileSync(path.join(second[1], "cgroup.controllers"), "utf8").split(/\s+/);
  if (!controllers.includes("cpu")) {
    throw new ClusterError(`cgroup v2 at ${second[1]} has no cpu controller (it must be enabled there)`);
  }
  checkWritable(second[1]);
  handOnCpu(second[1]);
  return { root: second[1], version: 2 };
}

function checkWritable(folder) {
  try {
    accessSync(path.join(folder, "cgroup.procs"), constants.W_OK);
  } catch {
    throw new ClusterError(`the cgroups at ${folder} cannot be changed (they must be mounted writable)`);
  }
}

/**
 * In cgroup v2 a folder takes single threads only if it is of the threaded kind, and only those of processes that are in the topmost
 * folder above it that is not; its parent must hand on the controller.
 */
function beThreaded(folder) {
  writeFileSync(path.join(folder, "cgroup.type"), "threaded");
  handOnCpu(path.dirname(folder));
}

function handOnCpu(folder) {
  writeFileSync(path.join(folder, "cgroup.subtree_control"), "+cpu");
}
