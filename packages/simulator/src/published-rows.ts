import { readFileSync } from "node:fs";
import type { Pass } from "@hsap/schedule";
import { InputError } from "@hsap/workload";

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
  const [header, ...lines] = textOf(file)
    .split(/\r?\n/)
    .filter((line) => line !== "" && !line.startsWith("#"));
  if (header !== columns) throw new InputError(`invalid columns: ${header} in ${file} (must be ${columns})`);
  return lines.map((line) => {
    const [device, mask, pass, ranks, system, tflops] = line.split(",");
    const known = masks.includes(mask) && (pass === "forward" || pass === "backward");
    if (!known || !(Number(ranks) >= 1) || !(Number(tflops) > 0)) {
      throw new InputError(`invalid row: ${line} in ${file} (mask ${masks.join(" or ")}, pass forward or backward)`);
    }
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

function textOf(file: string | URL): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new InputError(`unreadable rows: ${file} (${(error as Error).message.split("\n")[0]})`);
  }
}

const columns = "device,mask,pass,ranks,system,tflops_per_device";
const masks = ["causal", "packed-causal", "full", "packed-full"];
const ownFile = new URL("../data/published-attention-tflops.csv", import.meta.url);
