import { type OpTermTimes, opTerms, type ThreadMachine } from "../src/index.ts";

/** A machine on which nothing costs anything but what `ns` says. */
export function machineOf({
  cores = 2,
  wakeUs = 0,
  sliceUs = 1000,
  ns = {},
}: {
  readonly cores?: number;
  readonly wakeUs?: number;
  readonly sliceUs?: number;
  readonly ns?: Readonly<Partial<Record<keyof typeof opTerms, Readonly<Record<string, number>>>>>;
}): ThreadMachine {
  const fp32 = Object.fromEntries(
    Object.entries(opTerms).map(([kind, terms]) => [
      kind,
      Object.fromEntries(terms.map((term) => [term, ns[kind as keyof typeof opTerms]?.[term] ?? 0])),
    ]),
  ) as OpTermTimes;
  return { cores, wakeUs, sliceUs, tileRows: 12, vectorKeys: 16, termNs: { fp32 } };
}
