import { lengthsOf } from "@hsap/workload";
import { formatBlock } from "../block.ts";
import { formatEquation } from "../equation.ts";
import { isCommunication, type Op } from "../op.ts";
import { programOf, type Schedule, worldSizeOf } from "../schedule.ts";
import { attentionTensors, type TensorSpec } from "../tensor.ts";
import { arrowOf, firstLine, hasMask } from "./notation.ts";

/**
 * The text form of a schedule: a header (problem, documents, cluster, strategy, degrees, tensors of its own or in another dtype,
 * equations, layout, what is resident), then the program of each rank, one op a line, sends and receives under the group they belong to:
 *
 *     rank 0
 *       group 0 p2p
 *         send k[0:64 h0:8] v[0:64 h0:8] -> 1
 *         recv k[64:128 h0:8] v[64:128 h0:8] <- 1
 *       attend causal q[0:64 h0:8] k[0:64 h0:8] v[0:64 h0:8] -> o[0:64 h0:8] lse[0:64 h0:8]
 *
 * An arrow stands between what is read and what is written or added to. `parseSchedule` reads it back.
 */
export function formatSchedule(schedule: Schedule): string {
  const lines = headerLines(schedule);
  for (let rank = 0; rank < worldSizeOf(schedule); rank++) {
    lines.push(`rank ${rank}`);
    let group = -1;
    for (const op of programOf(schedule, rank)) {
      if (!isCommunication(op.kind)) {
        lines.push(`  ${formatOp(op, schedule.problem.pass === "backward")}`);
        continue;
      }
      const transfer = op as Extract<Op, { kind: "send" | "recv" }>;
      if (transfer.group !== group) lines.push(`  group ${transfer.group} ${transfer.groupKind}`);
      group = transfer.group;
      lines.push(`    ${formatOp(op, false)}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

/** One op in one line, as in the text form: `attend causal q[0:64 h0:8] ... -> o[0:64 h0:8] lse[0:64 h0:8]`. */
export function formatOp(op: Op, backward: boolean): string {
  const words: string[] = [op.kind];
  if (hasMask(op.kind) && "mask" in op) words.push(op.mask);
  const arrow = arrowOf(op.kind, backward);
  op.blocks.forEach((block, i) => {
    if (i === arrow?.at) words.push(arrow.sign);
    words.push(formatBlock(block));
  });
  if ("peer" in op) words.push(op.kind === "send" ? "->" : "<-", String(op.peer));
  return words.join(" ");
}

function headerLines(schedule: Schedule): string[] {
  const { problem, strategy, degrees, layout, resident = [], tensors, equations } = schedule;
  const { heads, kvHeads, headDim, dtype } = problem.shape;
  const known = new Set(equations === undefined ? attentionTensors(problem).map(formatTensor) : []);
  return [
    firstLine,
    `problem ${problem.pass} ${problem.mask} heads=${heads} kvHeads=${kvHeads} headDim=${headDim} dtype=${dtype}`,
    `documents ${lengthsOf(problem.batch).join(" ")}`,
    `cluster ${JSON.stringify(problem.cluster)}`,
    `strategy ${strategy}`,
    `degrees ${Object.entries(degrees)
      .map(([name, degree]) => `${name}=${degree}`)
      .join(" ")}`.trimEnd(),
    ...tensors.map(formatTensor).filter((line) => !known.has(line)),
    ...(equations ?? []).map((each) => `equation ${formatEquation(each)}`),
    ...layout.map((ranges, rank) => [`owns ${rank}:`, ...ranges.map(({ begin, end }) => `${begin}:${end}`)].join(" ")),
    ...resident.flatMap((blocks, rank) =>
      blocks.length === 0 ? [] : [[`holds ${rank}:`, ...blocks.map(formatBlock)].join(" ")],
    ),
  ];
}

const formatTensor = ({ name, heads, width, dtype, role, accumulates, rows }: TensorSpec): string =>
  `tensor ${name} heads=${heads} width=${width}${rows === undefined ? "" : ` rows=${rows}`} dtype=${dtype} role=${role} accumulates=${accumulates ? "yes" : "no"}`;
