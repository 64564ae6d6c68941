import { encodeTables, type LoweredSchedule, type Problem } from "@hsap/schedule";
import { nativeProblemOf } from "./native-problem.ts";

/**
 * A lowered schedule with what the engine must know of its problem, as the container that the native engine reads without
 * Node (native/include/hsap/program_file.h).
 */
export function encodeProgram(problem: Problem, lowered: LoweredSchedule): Uint8Array {
  const { heads, kvHeads, headDim, bf16, causal, backward, cuSeqlens } = nativeProblemOf(problem);
  const shape = Int32Array.of(heads, kvHeads, headDim, Number(bf16), Number(causal), Number(backward));
  return encodeTables({ ...(lowered as unknown as Tables), problem: { shape, cuSeqlens } });
}

type Tables = Parameters<typeof encodeTables>[0];
