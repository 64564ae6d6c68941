import { makeDeviceShares, removeCgroup } from "./device-shares.mjs";
import { makeHost, writeHostsFile } from "./hosts.mjs";
import { beginJournal } from "./journal.mjs";
import { writeLaunchFiles } from "./launch-files.mjs";
import { head, namespaceOf, nodeNames } from "./layout.mjs";
import { makeNetwork, processesIn, removeNamespace } from "./network.mjs";
import { endProcesses } from "./processes.mjs";
import { checkRequirements } from "./requirements.mjs";
import { slurmVariables, startSlurm } from "./slurm.mjs";

/**
 * Brings up a cluster; if that fails or is interrupted, what was made of it is taken down again.
 *
 * @param {import("./layout.mjs").ClusterWish} wish
 * @param {AbortSignal} signal
 * @returns the journal of what was made
 * @throws ClusterError
 */
export async function bringUp(wish, signal, say = () => {}) {
  checkRequirements(wish);
  const journal = beginJournal(wish);
  try {
    await make(journal, wish, signal, say);
    return journal;
  } catch (error) {
    await takeDown(journal);
    throw error;
  }
}

/** Takes down all that the journal names, and the processes that run in the cluster's namespaces. Can be repeated. */
export async function takeDown(journal) {
  const namespaces = journal.made.filter(({ kind }) => kind === "namespace").map(({ namespace }) => namespace);
  const running = await Promise.all(namespaces.map(processesIn));
  await endProcesses(running.flat());
  for (const thing of journal.made.toReversed()) {
    if (thing.kind === "namespace") await removeNamespace(thing.namespace);
    else await removeCgroup(thing.folder);
  }
  journal.end();
}

async function make(journal, wish, signal, say) {
  const { name, nodes, devices, bandwidthMbit, share, slurm } = wish;
  say(`network of ${nodes} nodes, ${bandwidthMbit} Mbit/s each`);
  await makeNetwork(journal, wish);
  signal.throwIfAborted();
  say(
    `${devices} devices on each node, ${share === undefined ? "as fast as they can" : `with ${share} of a core each`}`,
  );
  const { threads, processes } = share === undefined ? {} : makeDeviceShares(journal, wish);
  const variables = {
    ...(threads !== undefined && { HSAP_COMPUTE_CGROUP: threads }),
    ...(slurm && slurmVariables(name)),
  };
  const holders = new Map();
  writeHostsFile(wish);
  for (const host of [head, ...nodeNames(nodes)]) holders.set(host, await makeHost(name, host));
  signal.throwIfAborted();
  writeLaunchFiles(wish, holders, variables, processes);
  if (!slurm) return;
  say("Slurm: controller and a daemon on each node");
  await startSlurm(wish, holders, processes);
  signal.throwIfAborted();
}

/** Host names that programs on the cluster see. */
export const hostNames = ({ name, nodes }) => nodeNames(nodes).map((node) => namespaceOf(name, node));
