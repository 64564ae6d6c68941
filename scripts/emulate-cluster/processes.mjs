import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { startTimeOf } from "../process-start.mjs";
import { ClusterError } from "./cluster-error.mjs";

/** Starts a process that outlives us, its output in `log`. Its command enters a namespace of the cluster, where it is found again. */
export async function startDaemon(command, { log, env = process.env }) {
  const output = openSync(log, "a");
  const child = spawn(command[0], command.slice(1), { detached: true, stdio: ["ignore", output, output], env });
  closeSync(output);
  await new Promise((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (error) => reject(new ClusterError(`cannot start ${command[0]} (${error.message})`)));
  });
  child.unref();
  return child.pid;
}

/** Ends processes by their ids: asks first, and insists after a while. */
export async function endProcesses(pids, patienceMs = 2000) {
  // The start time tells a process from a later one that was given its id.
  const processes = pids.map((pid) => ({ pid, started: startTimeOf(pid) }));
  const alive = () => processes.filter(({ pid, started }) => started !== undefined && startTimeOf(pid) === started);
  for (const [signal, waitMs] of [
    ["SIGTERM", patienceMs],
    ["SIGKILL", patienceMs],
  ]) {
    for (const { pid } of alive()) signalProcess(pid, signal);
    for (const end = Date.now() + waitMs; alive().length > 0 && Date.now() < end; ) await sleep(20);
  }
  const left = alive();
  if (left.length > 0) throw new ClusterError(`processes do not end: ${left.map(({ pid }) => pid).join(", ")}`);
}

function signalProcess(pid, signal) {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (error.code !== "ESRCH") throw error;
  }
}
