import { presetCluster } from "@hsap/cluster";
import { type OpTermKind, opTerms } from "@hsap/simulator";
import { type MachineProfile, quietSpread } from "./machine-profile.ts";
import type { MeasuredTerms } from "./measured-terms.ts";
import { writtenNumber } from "./written-number.ts";

/**
 * The profile as a hardware file. Besides the threads it holds one kernel, for predictions in which every rank has a core of its
 * own and real links: rates are shares of the peak that the preset cluster `local` states.
 */
export function profileFileOf(profile: MachineProfile): string {
  const { device, isa, cores, registers, terms, wakeUs, sliceUs, spread } = profile;
  const measured = (value: number, what: string) => `{ value: ${writtenNumber(value)}, source: "measured: ${what}" }`;
  const dtypes = Object.entries(terms);
  return `# ${device}, ${cores} cores, ${isa} kernels: measured by hsap calibrate${spread > quietSpread ? ", while something else ran" : ""}.
devices: [one core, ${JSON.stringify(device)}]
dtype: fp32
threads:
  cores: { value: ${cores}, source: "what the operating system offers" }
  wakeUs: ${measured(wakeUs, "a token handed back and forth between two ranks")}
  sliceUs: ${measured(sliceUs, "turns of four ranks for each core")}
  tileRows: { value: ${registers.tileRows}, source: "rows of a register tile of the ${isa} kernels" }
  vectorKeys: { value: ${registers.vectorKeys}, source: "elements of one of its vectors" }
  # Nanoseconds of processor time.
  termNs:
${dtypes.map(([dtype, kinds]) => `    ${dtype}:\n${kindLines(kinds)}`).join("\n")}
${kernelLines(profile)}`;
}

function kindLines(kinds: Readonly<Record<OpTermKind, MeasuredTerms>>): string {
  return (Object.keys(opTerms) as OpTermKind[])
    .map((kind) => {
      const { ns, samples, medianError, worstError } = kinds[kind];
      const values = opTerms[kind].map((term) => `${term}: ${writtenNumber(ns[term])}`).join(", ");
      const errors = `${percent(medianError)} off, at worst ${percent(worstError)}`;
      return `      ${kind}: { value: { ${values} }, source: "measured: fitted to ${samples.length} samples, ${errors}" }`;
    })
    .join("\n");
}

function kernelLines({ registers, terms }: MachineProfile): string {
  const { device } = presetCluster("local");
  const times = Object.values(terms)[0];
  const zero = `{ value: 0, source: "an op is a function call" }`;
  const pass = (name: "forward" | "backward") => {
    const { ns } = name === "forward" ? times.attendForward : times.attendBackward;
    // On endless tiles only what grows with pairs x headDim counts; pairs by themselves as with headDim 64.
    const pairNs = ns.pair / 64 + ns.pairWidth + (ns.columnWidth ?? 0);
    const rate = ((name === "forward" ? 4 : 10) / pairNs) * 1e-3;
    return `    ${name}:
      shareOfPeak: { value: ${writtenNumber(rate / device.peakTflops)}, source: "measured: pairs of endless tiles, ${writtenNumber(1e3 * rate)} of ${writtenNumber(1e3 * device.peakTflops)} Gflop/s" }
      tileRows: { value: 1, source: "query heads of a kv head fill register tiles together" }
      tileColumns: { value: ${registers.vectorKeys}, source: "one vector" }
      overheadTokens: { value: ${writtenNumber((ns.keyWidth + ns.rowWidth) / pairNs)}, source: "measured: packing keys and loading rows, in pairs" }
${["launchUs", "emptyBlockUs", "hostUs", "queryPasses", "keyPasses", "accumulatePasses"].map((key) => `      ${key}: ${zero}`).join("\n")}`;
  };
  const copied = times.copy.ns.element / 8;
  return `kernels:
  engine:
${pass("forward")}
${pass("backward")}
memory:
  copyShare: { value: ${writtenNumber(Math.min(1, 1 / copied / (device.memoryBandwidthGBps ?? 1)))}, source: "measured: copies, of the cluster's ${device.memoryBandwidthGBps} GB/s" }
  launchUs: ${zero}
libraries:
  threads:
${["launchUs", "collectiveHostUs", "p2pHostUs"].map((key) => `    ${key}: ${zero}`).join("\n")}
    slowdown: { value: 1, source: "not measured" }
    ranksPerNic: { value: 1, source: "there are no cards" }
    hopUs: { value: [0, 0], source: "as launchUs" }
    pairShare: { value: [1, 1], source: "a transfer is one copy" }
    collectives: {}
`;
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
