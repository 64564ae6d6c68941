import { readFileSync } from "node:fs";
import type { Pass } from "@hsap/schedule";

/** One published measurement of a system: TFLOP/s of each device, over the time of the slowest. */
export interface PublishedRow {
  readonly device: string;
  /** `causal`: one document. `packed-causal`: documents of the pretraining law. */
  readonly mask: "causal" | "packed-causal" | "full" | "packed-full";
  readonly pass: Pass;
  readonly ranks: number;
  readonly system: string;
  readonly tflopsPerDevice: number;
}

/** The rows of a csv file with the columns device,mask,pass,ranks,system,tflops_per_device; lines that begin with `#` say where they come from. */
export function publishedRows(file: string | URL = ownFile): PublishedRow[] {
  const [, ...lines] = readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));
  return lines.map((line) => {
    const [device, mask, pass, ranks, system, tflops] = line.split(",");
    return {
      device,
      mask: mask as PublishedRow["mask"],
      pass: pass as Pass,
      ranks: Number(ranks),
      system,
      tflopsPerDevice: Number(tflops),
    };
  });
}

const ownFile = new URL("../data/published-attention-tflops.csv", import.meta.url);
