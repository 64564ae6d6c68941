import { presetCluster } from "@hsap/cluster";
import { hardwareOf, namedEntry } from "@hsap/simulator";
import type { ClusterProfile, MeasuredLink } from "./measured-cluster.ts";
import { writtenNumber } from "./written-number.ts";

/**
 * The profile as a cluster file. Its device's peak is such that the kernels that the simulator knows of this machine's engine,
 * as shares of it, come out at the measured rate.
 */
export function clusterFileOf({
  device,
  library,
  nodes,
  ranksPerNode,
  node,
  network,
  teraflops,
  slowdown,
}: ClusterProfile): string {
  const local = presetCluster("local");
  const { entry: kernel } = namedEntry("kernel", hardwareOf(local).kernels);
  const peak = teraflops.forward / kernel.forward.shareOfPeak;
  const sharing = sharingOf(network, ranksPerNode);
  const memoryGBps = (local.device.memoryBandwidthGBps ?? 10) / slowdown.forward;
  const level = (name: string, size: number, link: MeasuredLink | undefined, other: MeasuredLink | undefined) => {
    const { bandwidthGBps, latencyUs } = link ?? other ?? local.levels[0];
    const pairGBps = link === undefined ? bandwidthGBps : Math.max(link.aloneGBps, bandwidthGBps);
    const sizes = link?.messages.map(({ bytes, us }) => `${bytes} B in ${writtenNumber(us)} us`).join(", ");
    const source =
      sizes === undefined
        ? "not measured: no such link in the job"
        : `measured over ${library}, all ranks at once while they compute: ${sizes}`;
    return `  - name: ${name}
    size: ${size}
    bandwidthGBps: { value: ${writtenNumber(bandwidthGBps)}, source: ${JSON.stringify(source)} }
    latencyUs: { value: ${writtenNumber(latencyUs)}, source: "as bandwidthGBps" }
    ranksPerLink: { value: ${link !== undefined && link === network ? sharing : 1}, source: "by what one rank of a node gets of the link alone" }
    pairGBps: { value: ${writtenNumber(pairGBps)}, source: "measured: one rank of each node sends" }`;
  };
  return `# Measured by hsap calibrate on ${nodes} x ${ranksPerNode} ranks.
name: measured
levels:
${level("node", ranksPerNode, node, network)}
${level("cluster", nodes, network, node)}
device:
  name: ${JSON.stringify(deviceNameOf(device, ranksPerNode))}
  dtype: fp32
  peakTflops: { value: ${writtenNumber(peak)}, source: "measured: ${writtenNumber(1e3 * teraflops.forward)} Gflop/s forward (${writtenNumber(1e3 * teraflops.backward)} backward) on tiles of 1536 tokens, all ranks at once, over the kernel's share of its peak" }
  memoryBandwidthGBps: { value: ${writtenNumber(memoryGBps)}, source: "not measured: that of the preset local, over how much slower the device is" }
`;
}

/**
 * The profile as a hardware file, by which the simulator predicts runs of such ranks: processes, their links, and for the rest this
 * machine's own file.
 */
export function clusterHardwareOf({ device, library, ranksPerNode, node, network, slowdown }: ClusterProfile): string {
  const sharing = sharingOf(network, ranksPerNode);
  const alone = (link: MeasuredLink | undefined) =>
    link === undefined ? "no such link" : `${writtenNumber(link.aloneGBps)} GB/s where one rank of a node sends`;
  const pairShare = [node, network].map((link) => writtenNumber(Math.max(1, shareAlone(link)))).join(", ");
  const none = 'source: "an op is a function call"';
  return `# Measured by hsap calibrate: hsap simulate --cluster CLUSTER --hardware THIS, hsap experiment --hardware THIS.
base: local
devices: [${JSON.stringify(deviceNameOf(device, ranksPerNode))}]
dtype: fp32
processes:
  slowdown:
    forward: { value: ${writtenNumber(slowdown.forward)}, source: "measured: a tile of 1536 tokens, over its processor time by the terms of this machine" }
    backward: { value: ${writtenNumber(slowdown.backward)}, source: "as forward" }
libraries:
  ${JSON.stringify(library)}:
    launchUs: { value: 0, source: "part of the links' latency" }
    collectiveHostUs: { value: 0, ${none} }
    p2pHostUs: { value: 0, ${none} }
    slowdown: { value: 1, source: "links were measured beside computation" }
    ranksPerNic: { value: ${sharing}, source: "measured: ${alone(network)}, against ${writtenNumber(network?.bandwidthGBps ?? 0)} where all do" }
    hopUs: { value: [0, 0], source: "as launchUs" }
    pairShare: { value: [${pairShare}], source: "measured: in a node ${alone(node)}, between nodes ${alone(network)}" }
    collectives: {}
`;
}

/** What one rank gets of a link that its neighbours leave to it, over what it gets while they use it too. */
const shareAlone = (link: MeasuredLink | undefined): number =>
  link === undefined ? 1 : link.aloneGBps / link.bandwidthGBps;

/** How many ranks share a link between nodes: all of a node, if one alone gets clearly more of it. */
const sharingOf = (network: MeasuredLink | undefined, ranksPerNode: number): number =>
  shareAlone(network) < 1.5 ? 1 : ranksPerNode;

const deviceNameOf = (device: string, ranksPerNode: number): string =>
  `${device}, as one of ${ranksPerNode} ranks of a node`;
