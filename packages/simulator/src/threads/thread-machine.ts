import { z } from "zod";
import { type OpTermKind, opTerms } from "./op-terms.ts";
import type { RegisterTile } from "./tile-terms.ts";

/**
 * A machine whose ranks are threads of one process, two for each rank: one computes, one communicates, and all of them share the
 * cores. `hsap calibrate` measures every number.
 */
export interface ThreadMachine extends RegisterTile {
  readonly cores: number;
  /** From a notification until the thread that sleeps for it runs, where a core is free. */
  readonly wakeUs: number;
  /** How long a thread runs while others wait for its core. */
  readonly sliceUs: number;
  /** Processor time of each term of an op (see `opTerms`), in nanoseconds, by what travels. */
  readonly termNs: Readonly<Partial<Record<"fp32" | "bf16", OpTermTimes>>>;
}

export type OpTermTimes = Readonly<Record<OpTermKind, Readonly<Record<string, number>>>>;

const amount = z.number().min(0);
const termTimes = z.strictObject(
  Object.fromEntries(
    Object.entries(opTerms).map(([kind, terms]) => [
      kind,
      z.strictObject(Object.fromEntries(terms.map((term) => [term, amount]))),
    ]),
  ),
);

/** How a hardware file writes it. */
export const threadMachineSchema = z.strictObject({
  cores: z.int().min(1),
  wakeUs: amount,
  sliceUs: z.number().positive(),
  tileRows: z.int().min(1),
  vectorKeys: z.int().min(1),
  termNs: z.strictObject({ fp32: termTimes.optional(), bf16: termTimes.optional() }),
});
