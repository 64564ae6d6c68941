import { opKinds, type Schedule, type Tile } from "@hsap/schedule";
import type { CollectiveInstance, Transfers } from "./collectives.ts";
import type { Collective, Communication, Hardware, Kernel } from "./hardware.ts";
import { copyUs, paidPairs, pairsUs } from "./kernel-time.ts";
import { isLayerKind, layerCallUs } from "./matrix-time.ts";
import { causalMask, isTileOp, type ProgramItems } from "./program-items.ts";

/** What each call and group costs by itself, in microseconds. */
export interface Costs {
  /** Device time of each call, and of each op inside it. */
  readonly callUs: Float64Array;
  readonly opUs: Float64Array;
  /** When the host has issued each item after the first of its rank. */
  readonly callIssuedUs: Float64Array;
  readonly groupIssuedUs: Float64Array;
  /** What the busiest host needs for a whole step. */
  readonly hostUs: number;
  readonly collectives: readonly CollectiveCost[];
}

export interface CollectiveCost {
  /** Before the first byte moves: launch, steps, packing at both ends. */
  readonly fixedUs: number;
  readonly parts: readonly FlowCost[];
}

/** A flow over many links: bytes on its busiest link, and each link's bytes for one of those. */
export interface FlowCost {
  readonly bytes: number;
  readonly links: readonly number[];
  readonly weights: readonly number[];
}

const attend = opKinds.indexOf("attend");

/** Puts a price on every item of a schedule; `kernel` computes the attention. */
export function costsOf(
  schedule: Schedule,
  items: ProgramItems,
  transfers: Transfers,
  hardware: Hardware,
  kernel: Kernel,
  library: Communication,
): Costs {
  const opUs = new Float64Array(schedule.ops.kind.length);
  const callUs = callCosts(schedule, items, hardware, kernel, opUs);
  const { callIssuedUs, groupIssuedUs, hostUs } = hostTimes(schedule, items, transfers, hardware, kernel, library);
  const collectives = transfers.collectives.map((instance) => collectiveCost(instance, schedule, hardware, library));
  return { callUs, opUs, callIssuedUs, groupIssuedUs, hostUs, collectives };
}

function callCosts(
  schedule: Schedule,
  { calls }: ProgramItems,
  hardware: Hardware,
  kernel: Kernel,
  opUs: Float64Array,
) {
  const { problem, ops } = schedule;
  const { cluster, pass } = problem;
  const own = kernel[pass];
  const tilesUs = tileTimes(schedule, kernel);
  const callUs = new Float64Array(calls.opBegin.length);
  for (let call = 0; call < callUs.length; call++) {
    let fixed = hardware.memory.launchUs;
    let sum = 0;
    for (let op = calls.opBegin[call]; op < calls.opEnd[call]; op++) sum += tilesUs[op];
    if (isTileOp(ops.kind[calls.opBegin[call]])) {
      const moved =
        own.queryPasses * calls.queryBytes[call] +
        own.keyPasses * calls.keyBytes[call] +
        own.accumulatePasses * calls.accumulatedBytes[call];
      const length = pass === "forward" ? calls.longestQueries[call] : calls.longestKeys[call];
      const blocks = calls.sequences[call] * Math.ceil(length / (pass === "forward" ? own.tileRows : own.tileColumns));
      // Blocks with work are counted too: beside as many empty ones they are few.
      fixed = own.launchUs + blocks * own.emptyBlockUs + copyUs(moved, hardware, cluster);
    } else if (isLayerKind(ops.kind[calls.opBegin[call]])) {
      sum = layerCallUs(schedule, calls.opBegin[call], calls.opEnd[call], hardware);
    } else fixed += copyUs(calls.movedBytes[call], hardware, cluster);
    callUs[call] = fixed + sum;
    const count = calls.opEnd[call] - calls.opBegin[call];
    for (let op = calls.opBegin[call]; op < calls.opEnd[call]; op++)
      opUs[op] = sum > 0 && tilesUs[op] > 0 ? tilesUs[op] * (1 + fixed / sum) : callUs[call] / count;
  }
  return callUs;
}

/** Device time of every tile, without what is paid once a call; 0 for other ops. */
function tileTimes({ problem, ops, blocks, tensors }: Schedule, kernel: Kernel): Float64Array {
  const { shape, pass, cluster } = problem;
  const us = new Float64Array(ops.kind.length);
  const tile = { qBegin: 0, qEnd: 0, kBegin: 0, kEnd: 0, mask: "full" as Tile["mask"] };
  // Whole documents come again and again: on every rank that has some of their heads.
  const wholeDocuments = new Map<number, number>();
  for (let op = 0; op < us.length; op++) {
    if (!isTileOp(ops.kind[op])) continue;
    if (ops.kind[op] !== attend) {
      us[op] = unfusedUs({ problem, ops, blocks, tensors } as Schedule, op, kernel);
      continue;
    }
    const q = ops.operands[ops.operandBegin[op]];
    const k = ops.operands[ops.operandBegin[op] + 1];
    tile.qBegin = blocks.tokenBegin[q];
    tile.qEnd = blocks.tokenEnd[q];
    tile.kBegin = blocks.tokenBegin[k];
    tile.kEnd = blocks.tokenEnd[k];
    tile.mask = ops.attribute[op] === causalMask ? "causal" : "full";
    const length = tile.qEnd - tile.qBegin;
    const isWhole = tile.mask === "causal" && tile.kBegin === tile.qBegin && tile.kEnd === tile.qEnd;
    let pairs = isWhole ? wholeDocuments.get(length) : undefined;
    if (pairs === undefined) {
      pairs = paidPairs(tile, pass, kernel[pass]);
      if (isWhole) wholeDocuments.set(length, pairs);
    }
    const heads = blocks.headEnd[q] - blocks.headBegin[q];
    us[op] = pairsUs(pairs * heads, shape.headDim, pass, kernel[pass], cluster);
  }
  return us;
}

/** Matrix products of unfused attention: one of the two products of a tile for `score` and `weigh`, all of its rectangle. */
function unfusedUs({ problem, ops, blocks }: Schedule, op: number, kernel: Kernel): number {
  const { shape, pass, cluster } = problem;
  const name = opKinds[ops.kind[op]];
  const operand = (i: number) => ops.operands[ops.operandBegin[op] + i];
  const [rows, keys] =
    name === "score"
      ? [operand(0), operand(1)]
      : name === "weigh"
        ? [operand(0), operand(1)]
        : [operand(1), operand(2)];
  const tokens = (id: number) => blocks.tokenEnd[id] - blocks.tokenBegin[id];
  const heads = blocks.headEnd[rows] - blocks.headBegin[rows];
  // Products of queries by keys: one forward for score and weigh; backward two each for weigh and unscore.
  const products = pass === "backward" && name !== "score" ? 2 : 1;
  const pairs = tokens(rows) * tokens(keys) * heads;
  return (products * pairsUs(pairs, shape.headDim, "forward", kernel.forward, cluster)) / 2;
}

/** The host issues items one after another. */
function hostTimes(
  { problem, ops }: Schedule,
  { ranks, calls, groups }: ProgramItems,
  { collectiveOf }: Transfers,
  hardware: Hardware,
  kernel: Kernel,
  library: Communication,
) {
  const callIssuedUs = new Float64Array(calls.opBegin.length);
  const groupIssuedUs = new Float64Array(groups.opBegin.length);
  const callHostUs = kernel[problem.pass].hostUs;
  let hostUs = 0;
  for (let rank = 0; rank < ranks; rank++) {
    let now = 0;
    let call = calls.begin[rank];
    let group = groups.begin[rank];
    while (call < calls.begin[rank + 1] || group < groups.begin[rank + 1]) {
      const isCall =
        group === groups.begin[rank + 1] || (call < calls.begin[rank + 1] && calls.issue[call] < groups.issue[group]);
      if (isCall) {
        callIssuedUs[call] = now;
        now += isTileOp(ops.kind[calls.opBegin[call++]]) ? callHostUs : hardware.memory.launchUs;
      } else {
        groupIssuedUs[group] = now;
        now += collectiveOf[group++] >= 0 ? library.collectiveHostUs : library.p2pHostUs;
      }
    }
    hostUs = Math.max(hostUs, now);
  }
  return { callIssuedUs, groupIssuedUs, hostUs };
}

function collectiveCost(
  instance: CollectiveInstance,
  { problem }: Schedule,
  hardware: Hardware,
  communication: Communication,
): CollectiveCost {
  const { cluster } = problem;
  const kind = communication.collectives[instance.kind];
  const lineRate = kind?.lineRate[instance.level === 0 ? 0 : 1] ?? 1;
  const attained = kind === undefined ? 1 : Math.min(1, lineRate * shareOf(kind, instance.nodes, instance.bufferBytes));
  const parts = instance.parts.map(({ load }) => {
    const links = [...load.keys()];
    // Links inside of the outermost level in use keep the bandwidth that the cluster states.
    const needs = links.map(
      (link) => (load.get(link) ?? 0) / (levelOf(link, cluster) === instance.level ? attained : 1),
    );
    const bytes = Math.max(1e-9, ...needs);
    return { bytes, links, weights: needs.map((need) => need / bytes) };
  });
  const hops = stepsOf(kind?.algorithm, instance.groups.length);
  const betweenNodes = stepsOf(kind?.algorithm, instance.nodes);
  const stepsUs =
    Math.max(0, hops - betweenNodes) * communication.hopUs[0] +
    betweenNodes * communication.hopUs[1] +
    (kind?.baseUs ?? 0);
  const packUs = copyUs((kind?.packPasses ?? 0) * instance.bufferBytes, hardware, cluster);
  return { fixedUs: communication.launchUs + stepsUs + packUs, parts };
}

/** Steps that follow each other until the last of `count` ranks, or nodes, has what it needs. */
function stepsOf(algorithm: Collective["algorithm"] | undefined, count: number): number {
  if (algorithm === "pairs") return Math.min(1, count - 1);
  // A tree goes up and down again, as NCCL's double trees do.
  return algorithm === "tree" ? 2 * Math.ceil(Math.log2(count)) : count - 1;
}

const levelOf = (link: number, { ranks }: Schedule["problem"]["cluster"]): number => Math.floor(link / (2 * ranks));

/** Share of the line rate, interpolated in the logarithm of the size; the number of nodes nearest in logarithm counts. */
function shareOf({ shares }: Collective, nodes: number, bytes: number): number {
  const distance = (share: { nodes: number }) => Math.abs(Math.log(share.nodes / nodes));
  const { points } = shares.reduce((best, share) => (distance(share) < distance(best) ? share : best));
  if (bytes <= points[0][0]) return points[0][1];
  for (let i = 1; i < points.length; i++) {
    const [[fromBytes, from], [toBytes, to]] = [points[i - 1], points[i]];
    if (bytes <= toBytes) return from + ((to - from) * Math.log(bytes / fromBytes)) / Math.log(toBytes / fromBytes);
  }
  return points[points.length - 1][1];
}
