import path from "node:path";

/**
 * What a cluster is asked to be.
 *
 * @typedef {object} ClusterWish
 * @property {string} name of the cluster; everything it makes carries it
 * @property {number} nodes
 * @property {number} devices of each node
 * @property {number} bandwidthMbit of the link of each node, each way, in Mbit/s
 * @property {number | undefined} share of a core that each device has; undefined: none of its own
 * @property {boolean} slurm whether Slurm runs on it
 */

/** Where the files of cluster `name` lie: short, as the paths of Unix sockets may have no more than 107 characters. */
export const folderOf = (name) => path.join("/run/hsap-cluster", name);

/** The head starts jobs and hosts the controller; it has no devices and an uncapped link. */
export const head = "head";

export const nodeNames = (nodes) => Array.from({ length: nodes }, (_, node) => `node${node}`);

/** The network namespace of host `host` (a node, the head or the switch). */
export const namespaceOf = (name, host) => `${name}-${host}`;

/** The subnet exists inside the namespaces only, so that several clusters can use the same addresses. */
export const subnet = "10.77.0.0/24";
export const headAddress = "10.77.0.254";
export const nodeAddress = (node) => `10.77.0.${node + 1}`;

export const addressOf = (host) => (host === head ? headAddress : nodeAddress(Number(host.slice("node".length))));
