import { addressOf, head, namespaceOf, nodeNames } from "./layout.mjs";
import { command } from "./shell.mjs";

/**
 * Makes the network: a namespace for each host, and a bridge in one of its own to which every host has a link. The link of
 * a node is capped in both directions, as a network card is; that of the head is not.
 *
 * @param {import("./layout.mjs").ClusterWish} wish
 */
export async function makeNetwork(journal, wish) {
  const { name, nodes, bandwidthMbit } = wish;
  const bridge = namespaceOf(name, "switch");
  await makeNamespace(journal, bridge);
  await command("ip", "-n", bridge, "link", "add", "bridge0", "type", "bridge");
  await command("ip", "-n", bridge, "link", "set", "bridge0", "up");
  for (const host of [head, ...nodeNames(nodes)]) {
    const namespace = namespaceOf(name, host);
    await makeNamespace(journal, namespace);
    // Both ends are made inside the namespaces: nothing ever shows in the machine's own network.
    await command(
      ...["ip", "-n", bridge, "link", "add", host, "type", "veth"],
      ...["peer", "name", "eth0", "netns", namespace],
    );
    await command("ip", "-n", bridge, "link", "set", host, "master", "bridge0", "up");
    await command("ip", "-n", namespace, "addr", "add", `${addressOf(host)}/24`, "dev", "eth0");
    await command("ip", "-n", namespace, "link", "set", "lo", "up");
    await command("ip", "-n", namespace, "link", "set", "eth0", "up");
    if (host === head) continue;
    await capLink(namespace, "eth0", bandwidthMbit);
    await capLink(bridge, host, bandwidthMbit);
  }
}

/** Cuts the link of `host`, or joins it again. */
export async function setLink(name, host, state) {
  await command("ip", "-n", namespaceOf(name, host), "link", "set", "eth0", state);
}

/** Bytes that have gone through the link of `host` since it was made, headers of Ethernet, IP and TCP included. */
export async function linkBytes(name, host) {
  const [{ stats64 }] = JSON.parse(
    await command("ip", "-json", "-statistics", "-n", namespaceOf(name, host), "link", "show", "dev", "eth0"),
  );
  return { received: stats64.rx.bytes, sent: stats64.tx.bytes };
}

export async function removeNamespace(namespace) {
  const there = (await command("ip", "-json", "netns", "list")).trim();
  const names = there === "" ? [] : JSON.parse(there).map(({ name }) => name);
  // The links of a namespace go with it.
  if (names.includes(namespace)) await command("ip", "netns", "delete", namespace);
}

/** Ids of the processes inside a namespace. */
export async function processesIn(namespace) {
  const there = await command("ip", "netns", "list");
  if (!there.split("\n").some((line) => line.split(" ")[0] === namespace)) return [];
  return (await command("ip", "netns", "pids", namespace)).trim().split(/\s+/).filter(Boolean).map(Number);
}

async function makeNamespace(journal, namespace) {
  journal.note({ kind: "namespace", namespace });
  await command("ip", "netns", "add", namespace);
}

/** A token bucket: the kernels that this has to work on have no netem, so latency is what it is. */
async function capLink(namespace, device, bandwidthMbit) {
  await command(
    ...["tc", "-n", namespace, "qdisc", "add", "dev", device, "root", "tbf"],
    ...["rate", `${bandwidthMbit}mbit`, "burst", "256kb", "latency", "50ms"],
  );
}
