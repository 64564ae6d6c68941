import { readFileSync } from "node:fs";
/** The rows of a csv file with the columns device,mask,pass,ranks,system,tflops_per_device; lines that begin with `#` say where they come from. */
export function publishedRows(file = ownFile) {
    const [, ...lines] = readFileSync(file, "utf8")
        .split("\n")
        .filter((line) => line !== "" && !line.startsWith("#"));
    return lines.map((line) => {
        const [device, mask, pass, ranks, system, tflops] = line.split(",");
        return {
            device,
            mask: mask,
            pass: pass,
            ranks: Number(ranks),
            system,
            tflopsPerDevice: Number(tflops),
        };
    });
}
const ownFile = new URL("../data/published-attention-tflops.csv", import.meta.url);
//# sourceMappingURL=published-rows.js.map