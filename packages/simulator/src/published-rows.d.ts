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
export declare function publishedRows(file?: string | URL): PublishedRow[];
