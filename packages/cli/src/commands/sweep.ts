import { InputError } from "@hsap/workload";
import { wholeNumber } from "../option-values.ts";
import type { SimulateOptions } from "../program.ts";

/** One point of a sweep: the options of a single simulation, and whether every degree of a strategy is tried there. */
export interface SweepPoint {
  readonly options: SimulateOptions;
  readonly everyDegree: boolean;
}

const names = ["ranks", "mix", "tokens-per-rank", "degrees"] as const;

/**
 * Every combination of what `--sweep` lists, such as `ranks=8,16,32`, `mix=hybrid,code`, `tokens-per-rank=8192` and
 * `degrees=all`; one point without it.
 *
 * @throws InputError if an entry is not like these.
 */
export function sweepPoints(options: SimulateOptions): SweepPoint[] {
  const axes = (options.sweep ?? []).map(parseAxis);
  let points: SweepPoint[] = [{ options, everyDegree: false }];
  // Tokens for each rank are known only once there are ranks.
  const ordered = [...axes].sort((a, b) => names.indexOf(a.name) - names.indexOf(b.name));
  for (const { name, values } of ordered) {
    points = points.flatMap((point) => values.map((value) => at(point, name, value)));
  }
  return points;
}

function parseAxis(entry: string): { readonly name: (typeof names)[number]; readonly values: readonly string[] } {
  const [, given, list] = /^([a-z-]+)=(\S+)$/.exec(entry) ?? [];
  const name = names.find((known) => known === given);
  if (name === undefined)
    throw new InputError(`invalid sweep: ${entry} (must be like ranks=8,16; knows ${names.join(", ")})`);
  if (name === "degrees" && list !== "all") throw new InputError(`invalid sweep: ${entry} (must be degrees=all)`);
  return { name, values: list.split(",") };
}

function at({ options, everyDegree }: SweepPoint, name: (typeof names)[number], value: string): SweepPoint {
  if (name === "ranks") return { options: { ...options, ranks: value }, everyDegree };
  if (name === "mix") return { options: { ...options, mix: value }, everyDegree };
  if (name === "degrees") return { options, everyDegree: true };
  if (options.ranks === undefined)
    throw new InputError("missing ranks: tokens-per-rank needs --ranks or --sweep ranks=");
  const tokens = wholeNumber("tokens-per-rank", value) * wholeNumber("ranks", options.ranks);
  return { options: { ...options, tokens: String(tokens) }, everyDegree };
}
