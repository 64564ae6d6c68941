import type { Degrees, Problem, StrategyOptions } from "@hsap/schedule";

/** What a schedule is compiled from: all that another rank needs to compile the same one. */
export interface CompileRequest {
  readonly strategy: string;
  readonly problem: Problem;
  readonly degrees: Degrees;
  readonly options: StrategyOptions;
}

/** As JSON; typed arrays keep their type. */
export function textOfRequest(request: CompileRequest): string {
  return JSON.stringify(request, (_, value: unknown) =>
    value instanceof Int32Array ? { int32: Array.from(value) } : value,
  );
}

export function requestOfText(text: string): CompileRequest {
  return JSON.parse(text, (_, value: unknown) => {
    const int32 = (value as { int32?: unknown } | null)?.int32;
    return Array.isArray(int32) ? Int32Array.from(int32 as number[]) : value;
  }) as CompileRequest;
}
