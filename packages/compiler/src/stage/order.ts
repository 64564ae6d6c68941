import type { Pass } from "@hsap/schedule";
import type { Plan } from "../plan.ts";
import type { Messages } from "../route/message.ts";

/** One step of a rank's program, of one of its parts. */
export type Step =
  | { readonly kind: "gather"; readonly part: number }
  | { readonly kind: "scatter"; readonly part: number }
  /** Adds the gradients of kv heads that several lanes share, once they are back with the owners of their tokens. */
  | { readonly kind: "addHeads"; readonly part: number }
  | { readonly kind: "exchange" | "arrived" | "reduce"; readonly part: number; readonly round: number }
  /** Own queries against keys that arrived, while results of borrowed queries return. */
  | { readonly kind: "late"; readonly part: number }
  | { readonly kind: "own"; readonly part: number; readonly portion: number };

/**
 * Pass 6b, in which order each rank does what there is to do; it is the same on all ranks. Each lane keeps the order of the list,
 * so transfers overlap with the computation that stands after them and does not need them:
 *
 * - whole documents are computed beside the all-to-alls of those that split their heads, some before and some after them;
 * - own keys come before those that have to arrive;
 * - all rounds of keys stand before the tiles beside them, so that receives need not wait for memory that these use;
 *   where memory is scarce and keys cross in several rounds, each round stands behind tiles on the last but one;
 * - in a backward pass tiles on keys that arrived come as early as these, and own keys wherever something else is waited for:
 *   until keys are there, beside each round of gradients on their way back, and all that are left at the end (`Walk` says how many);
 * - in a forward pass results of queries that others have computed return in the same way.
 *
 * A split part comes first, if there is one.
 */
export function orderOf(plan: Plan, pass: Pass): Step[] {
  const split = plan.findIndex(({ hierarchy }) => hierarchy.ulysses > 1);
  const whole = plan.findIndex(({ hierarchy }) => hierarchy.ulysses === 1);
  const parts = plan.map(({ messages, isFrugal }) => ({ ...messages, isFrugal }));
  const steps: Step[] = [];
  if (split >= 0) steps.push({ kind: "gather", part: split });
  if (split >= 0) steps.push(...exchange(parts[split], split, 0));
  if (whole >= 0) steps.push(...exchange(parts[whole], whole, 0));
  // Whole documents' keys come after those of the others, which take longer.
  const first = split >= 0 ? split : whole;
  steps.push(...laterRounds(parts[first], first));
  if (whole >= 0) steps.push({ kind: "own", part: whole, portion: 0 });
  if (split >= 0) steps.push({ kind: "own", part: split, portion: 0 }, ...arrivals(parts[split], split));
  if (pass === "backward") return [...steps, ...backwardEnd(parts, split, whole)];
  if (split >= 0) steps.push(...partialResults(parts[split], split), { kind: "scatter", part: split });
  if (whole >= 0 && split >= 0) steps.push(...laterRounds(parts[whole], whole));
  if (whole >= 0) steps.push(...arrivals(parts[whole], whole));
  const returned = whole >= 0 ? partialResults(parts[whole], whole) : [];
  if (split >= 0 && whole >= 0 && returned.length === 0) steps.push({ kind: "own", part: whole, portion: 1 });
  return [...steps, ...returned];
}

/** How a forward pass ends if results of borrowed queries return: they are merged into those of the owner. */
function partialResults({ keyRounds, rounds }: Messages, part: number): Step[] {
  if (rounds === keyRounds) return [];
  return [
    { kind: "exchange", part, round: keyRounds },
    { kind: "late", part },
    { kind: "own", part, portion: 1 },
    { kind: "reduce", part, round: keyRounds },
  ];
}

function backwardEnd(parts: readonly Exchanges[], split: number, whole: number): Step[] {
  const isMixed = split >= 0 && whole >= 0;
  const first = split >= 0 ? split : whole;
  const { keyRounds, rounds } = parts[first];
  const steps: Step[] = [];
  if (isMixed) steps.push(...laterRounds(parts[whole], whole));
  // Gradients of split documents leave while whole ones are computed, which therefore must not lend them memory.
  const leavesFirst = isMixed && !parts[whole].isFrugal && rounds > keyRounds;
  if (leavesFirst) steps.push({ kind: "exchange", part: first, round: keyRounds });
  if (whole >= 0) steps.push(...arrivals(parts[whole], whole));
  for (let round = keyRounds; round < rounds; round++) {
    if (!leavesFirst || round > keyRounds) steps.push({ kind: "exchange", part: first, round });
    if (isMixed && round === keyRounds) steps.push(...gradients(parts[whole], whole));
    steps.push({ kind: "own", part: first, portion: 1 + round - keyRounds });
    if (isMixed) steps.push({ kind: "own", part: whole, portion: 1 + round - keyRounds });
    steps.push({ kind: "reduce", part: first, round });
  }
  if (isMixed && rounds === keyRounds) steps.push(...gradients(parts[whole], whole));
  if (split >= 0) steps.push({ kind: "scatter", part: split });
  if (isMixed) {
    steps.push({ kind: "own", part: whole, portion: 1 + rounds - keyRounds });
    for (let round = parts[whole].keyRounds; round < parts[whole].rounds; round++) {
      steps.push({ kind: "reduce", part: whole, round });
    }
  }
  if (split >= 0) steps.push({ kind: "addHeads", part: split });
  return steps;
}

const exchange = ({ keyRounds }: Messages, part: number, round: number): Step[] =>
  round < keyRounds ? [{ kind: "exchange", part, round }] : [];

interface Exchanges extends Messages {
  readonly isFrugal: boolean;
}

/** Rounds of keys after the first, unless each has to wait until there is memory for it. */
function laterRounds(of: Exchanges, part: number): Step[] {
  if (of.isFrugal) return [];
  return Array.from({ length: of.keyRounds }, (_, round) => exchange(of, part, round + 1)).flat();
}

/** What each round brought is computed beside those after it. */
function arrivals(of: Exchanges, part: number): Step[] {
  const steps: Step[] = [];
  for (let round = 0; round < of.keyRounds; round++) {
    if (of.isFrugal) steps.push(...exchange(of, part, round + 1));
    steps.push({ kind: "arrived", part, round });
  }
  return steps;
}

function gradients({ keyRounds, rounds }: Messages, part: number): Step[] {
  return Array.from({ length: rounds - keyRounds }, (_, i) => ({ kind: "exchange", part, round: keyRounds + i }));
}
