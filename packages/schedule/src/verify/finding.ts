import { type Block, formatBlock } from "../block.ts";
import { opKinds } from "../op.ts";
import { blockAt, type Schedule, worldSizeOf } from "../schedule.ts";

/** The verifier's rules, in the order in which they are checked. */
export const rules = ["matching", "contamination", "memory", "availability", "ownership", "coverage"] as const;

export type Rule = (typeof rules)[number];

/** One way in which a schedule is wrong. */
export interface Finding {
  readonly rule: Rule;
  readonly rank: number;
  /** Position in the rank's program, if one op is to blame. */
  readonly op?: number;
  readonly block?: Block;
  /** All of it in one line: `coverage: rank 1, op 3 (attend), o[0:4 h0:2]: ...`. */
  readonly message: string;
}

/** What a finding is about: a row of the op table (or a rank as a whole), and a block or its id. */
export interface Subject {
  readonly row?: number;
  readonly rank?: number;
  readonly block?: Block | number;
}

/** Enough to understand what is wrong with a schedule; one mistake in a loop makes thousands of findings. */
const findingsPerRule = 20;

/** Collects findings, at most 20 for each rule. */
export class FindingLog {
  readonly findings: Finding[] = [];
  readonly #counts = new Map<Rule, number>();

  constructor(private readonly schedule: Schedule) {}

  add(rule: Rule, { row, rank: ofRank, block: ofBlock }: Subject, what: string): void {
    const count = (this.#counts.get(rule) ?? 0) + 1;
    this.#counts.set(rule, count);
    if (count > findingsPerRule) return;
    const { schedule } = this;
    const rank = row === undefined ? (ofRank ?? 0) : rankOfRow(schedule, row);
    const block = typeof ofBlock === "number" ? blockAt(schedule, ofBlock) : ofBlock;
    const where = [`rank ${rank}`];
    if (row !== undefined) where.push(`op ${row - schedule.opBegin[rank]} (${opKinds[schedule.ops.kind[row]]})`);
    if (block !== undefined) where.push(formatBlock(block));
    this.findings.push({
      rule,
      rank,
      ...(row === undefined ? {} : { op: row - schedule.opBegin[rank] }),
      ...(block === undefined ? {} : { block }),
      message: `${rule}: ${where.join(", ")}: ${what}`,
    });
  }

  has(...anyOf: readonly Rule[]): boolean {
    return anyOf.some((rule) => this.#counts.has(rule));
  }
}

/** The rank whose program holds `row`, by bisection. */
export function rankOfRow(schedule: Schedule, row: number): number {
  let low = 0;
  let high = worldSizeOf(schedule);
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (schedule.opBegin[middle] <= row) low = middle;
    else high = middle;
  }
  return low;
}
