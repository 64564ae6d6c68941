import type { Cluster } from "@hsap/cluster";
import { InputError, packedBatch } from "@hsap/workload";
import type { Block, TokenRange } from "../block.ts";
import { ScheduleBuilder, type Transfer } from "../builder.ts";
import type { Equation } from "../equation.ts";
import { type LayerOpKind, layerOpKinds, layerOpShapes } from "../layer-op.ts";
import { type GroupKind, groupKinds, type OpKind, opKinds, type TileMask, tileMasks } from "../op.ts";
import { checkProblem, type Dtype, type Mask, type Pass, type Problem, ranksOf } from "../problem.ts";
import type { Schedule } from "../schedule.ts";
import type { TensorRole, TensorSpec } from "../tensor.ts";
import { type Line, linesOf } from "./line.ts";
import { arrowOf, firstLine, hasMask } from "./notation.ts";

/**
 * Reads the text form. Blank lines, indentation and lines that begin with `#` do not matter.
 *
 * @throws InputError with the number of the first line that is not understood, its value, and what would be right. Whether the
 * schedule is a right one is for `verify`.
 */
export function parseSchedule(text: string): Schedule {
  const lines = linesOf(text);
  if (lines[0]?.text !== firstLine)
    throw new InputError(
      `line ${lines[0]?.number ?? 1}: ${JSON.stringify(lines[0]?.text ?? "")} (must be "${firstLine}")`,
    );
  const firstProgram = lines.findIndex(({ words }) => words[0] === "rank");
  const end = firstProgram < 0 ? lines.length : firstProgram;
  const header = new Header(lines.slice(1, end));
  const builder = header.builder();
  parsePrograms(lines.slice(end), builder);
  return builder.finish();
}

/** The lines before the first program, each known by its first word. */
class Header {
  readonly #lines = new Map<string, Line[]>();

  constructor(lines: readonly Line[]) {
    const names = ["problem", "documents", "cluster", "strategy", "degrees", "tensor", "equation", "owns", "holds"];
    for (const line of lines) {
      const name = line.oneOf("header line", line.word("header line"), names);
      this.#lines.set(name, [...(this.#lines.get(name) ?? []), line]);
    }
  }

  builder(): ScheduleBuilder {
    const problem = this.#problem();
    const strategy = this.#only("strategy").rest();
    const degreeLine = this.#only("degrees");
    const degrees = Object.fromEntries(
      degreeLine.settings().map(([name, value]) => [name, degreeLine.whole(name, value)]),
    );
    const ranks = ranksOf(problem);
    const owned: TokenRange[][] = Array.from({ length: ranks }, () => []);
    for (const line of this.#all("owns")) owned[rankBefore(line, ranks)].push(...line.ranges());
    const tensors = this.#all("tensor").map(parseTensor);
    const equations = this.#all("equation").map((line) => parseEquation(line, tensors));
    const stated = equations.length === 0 ? undefined : equations;
    const builder = new ScheduleBuilder(problem, strategy, degrees, owned, tensors, stated);
    const names = builder.tensors.map(({ name }) => name);
    for (const line of this.#all("holds")) {
      const rank = rankBefore(line, ranks);
      while (line.peek() !== undefined) builder.rank(rank).hold(line.block(names));
    }
    return builder;
  }

  #problem(): Problem {
    const line = this.#only("problem");
    const pass = line.oneOf("pass", line.word("pass"), ["forward", "backward"]) as Pass;
    const mask = line.oneOf("mask", line.word("mask"), ["causal", "full"]) as Mask;
    const settings = new Map(line.settings().map(([name, value]) => [name, value]));
    const number = (name: string) => line.whole(name, settings.get(name) ?? "");
    const shape = {
      heads: number("heads"),
      kvHeads: number("kvHeads"),
      headDim: number("headDim"),
      dtype: line.oneOf("dtype", settings.get("dtype") ?? "", ["fp32", "bf16"]) as Dtype,
    };
    const documents = this.#only("documents");
    const batch = documents.guard(() =>
      packedBatch(documents.remaining().map((word) => documents.whole("length", word))),
    );
    const clusterLine = this.#only("cluster");
    const cluster = clusterLine.json("cluster") as Cluster;
    if (!Array.isArray(cluster?.levels) || !Number.isInteger(cluster?.ranks) || cluster.ranks < 1)
      throw clusterLine.invalid("cluster", clusterLine.rest(), "an object with levels and ranks");
    return line.guard(() => checkProblem({ batch, shape, cluster, mask, pass }));
  }

  #all(name: string): readonly Line[] {
    return this.#lines.get(name) ?? [];
  }

  #only(name: string): Line {
    const [line, second] = this.#all(name);
    if (line === undefined) throw new InputError(`missing line: ${name} (the header must have one)`);
    if (second !== undefined) throw second.invalid(name, second.text, "only one such line");
    return line;
  }
}

/** The rank at the head of a line: `owns 3: ...` */
function rankBefore(line: Line, ranks: number): number {
  const word = line.word("rank");
  const rank = line.whole("rank", word.replace(/:$/, ""));
  if (rank >= ranks || !word.endsWith(":")) throw line.invalid("rank", word, `below ${ranks}, with a colon`);
  return rank;
}

function parseTensor(line: Line): TensorSpec {
  const name = line.word("tensor");
  const settings = new Map(line.settings());
  const setting = (key: string) => {
    const value = settings.get(key);
    if (value === undefined) throw new InputError(`line ${line.number}: missing ${key} of tensor ${name}`);
    return value;
  };
  return {
    name,
    heads: line.whole("heads", setting("heads"), 65535),
    width: line.whole("width", setting("width")),
    dtype: line.oneOf("dtype", setting("dtype"), ["fp32", "bf16"]) as Dtype,
    role: line.oneOf("role", setting("role"), ["input", "output", "internal"]) as TensorRole,
    accumulates: line.oneOf("accumulates", setting("accumulates"), ["yes", "no"]) === "yes",
    ...(settings.has("rows") ? { rows: line.whole("rows", setting("rows")) } : {}),
  };
}

/** `h = linear o wo` */
function parseEquation(line: Line, tensors: readonly TensorSpec[]): Equation {
  const names = tensors.map(({ name }) => name);
  const writes: string[] = [];
  while (line.peek() !== undefined && line.peek() !== "=")
    writes.push(line.oneOf("tensor", line.word("tensor"), names));
  line.word("=");
  const op = line.oneOf("op", line.word("op"), layerOpKinds) as LayerOpKind;
  const reads = line.remaining().map((word) => line.oneOf("tensor", word, names));
  const shape = layerOpShapes[op];
  if (reads.length !== shape.reads || writes.length !== shape.writes)
    throw line.invalid("equation", line.rest(), `${shape.writes} tensors = ${op} and ${shape.reads} tensors`);
  return { op, reads, writes };
}

/** The group whose sends and receives are being read. */
interface OpenGroup {
  readonly kind: GroupKind;
  readonly transfers: Transfer[];
}

function parsePrograms(lines: readonly Line[], builder: ScheduleBuilder): void {
  const ranks = ranksOf(builder.problem);
  const names = builder.tensors.map(({ name }) => name);
  const backward = builder.problem.pass === "backward";
  let rank = -1;
  let groups = 0;
  let open: OpenGroup | undefined;
  const close = () => {
    if (open !== undefined) builder.rank(rank).exchange(open.kind, open.transfers);
    open = undefined;
  };
  for (const line of lines) {
    const word = line.oneOf("op", line.word("op"), ["rank", "group", ...opKinds]);
    if (word === "rank") {
      close();
      rank++;
      groups = 0;
      if (line.whole("rank", line.word("rank")) !== rank || rank >= ranks)
        throw line.invalid("rank", line.rest(), rank < ranks ? `${rank}: programs stand in order` : `below ${ranks}`);
    } else if (word === "group") {
      close();
      const number = line.word("group");
      if (line.whole("group", number) !== groups) throw line.invalid("group", number, `${groups}: groups are counted`);
      groups++;
      const kind = line.oneOf("kind of group", line.word("kind of group"), groupKinds) as GroupKind;
      open = { kind, transfers: [] };
    } else if (word === "send" || word === "recv") {
      if (open === undefined) throw line.invalid("op", word, "in a group");
      open.transfers.push(parseTransfer(line, word, names));
    } else {
      close();
      parseComputation(line, word as OpKind, names, backward, builder, rank);
    }
    line.end();
  }
  close();
}

function parseTransfer(line: Line, kind: "send" | "recv", names: readonly string[]): Transfer {
  const sign = kind === "send" ? "->" : "<-";
  const blocks: Block[] = [line.block(names)];
  while (line.peek() !== undefined && line.peek() !== sign) blocks.push(line.block(names));
  line.word(`${sign} and a rank`);
  const peer = line.whole("rank", line.word("rank"));
  return kind === "send" ? { to: peer, blocks } : { from: peer, blocks };
}

function parseComputation(
  line: Line,
  kind: OpKind,
  names: readonly string[],
  backward: boolean,
  builder: ScheduleBuilder,
  rank: number,
): void {
  const mask = hasMask(kind) ? (line.oneOf("mask", line.word("mask"), tileMasks) as TileMask) : "full";
  const arrow = arrowOf(kind, backward);
  const blocks: Block[] = [];
  while (line.peek() !== undefined) {
    if (blocks.length === arrow?.at) {
      const word = line.word(arrow.sign);
      if (word !== arrow.sign) throw line.invalid("word", word, `${arrow.sign} after ${arrow.at} blocks`);
    }
    blocks.push(line.block(names));
  }
  builder.rank(rank).compute(kind, blocks, mask);
}
