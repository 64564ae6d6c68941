import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { groupKinds } from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import { parse } from "yaml";
import { z } from "zod";
/** The kernel that stands first in a hardware file. */
export const defaultKernelOf = ({ kernels }) => Object.keys(kernels)[0];
/**
 * The hardware file that names the cluster's device; for a device that none names, the file with the same element type.
 *
 * @throws InputError if there is neither.
 */
export function hardwareOf({ device }) {
    const known = knownHardware();
    const own = known.find(({ devices }) => devices.includes(device.name));
    const found = own ?? known.find(({ dtype }) => dtype === device.dtype);
    if (found === undefined)
        throw new InputError(`no hardware file for device: ${device.name} (${device.dtype})`);
    return found;
}
/** Whether the numbers were made for the cluster's own device, not taken over from another one. */
export const isOwnHardware = (hardware, { device }) => hardware.devices.includes(device.name);
/**
 * Reads a hardware file. A number may be written bare or as `{ value: 0.7, source: where it comes from }`.
 *
 * @throws InputError if the text does not describe hardware; `file` names it in the message.
 */
export function parseHardware(text, file) {
    const parsed = hardwareSchema.safeParse(withoutSources(parse(text)));
    if (parsed.success)
        return parsed.data;
    const issue = parsed.error.issues[0];
    throw new InputError(`invalid hardware file: ${file} at ${issue.path.join(".")} (${issue.message})`);
}
/** Every source that the file names, by the path of its number. */
export function sourcesIn(text) {
    const sources = {};
    const visit = (value, path) => {
        if (typeof value !== "object" || value === null)
            return;
        const { source } = value;
        if (typeof source === "string" && "value" in value)
            sources[path] = source;
        else
            for (const [key, inner] of Object.entries(value))
                visit(inner, path === "" ? key : `${path}.${key}`);
    };
    visit(parse(text), "");
    return sources;
}
// Both src and dist are direct children of the package, so the files lie beside either.
const directory = fileURLToPath(new URL("../hardware/", import.meta.url));
let read;
function knownHardware() {
    read ??= readdirSync(directory)
        .filter((file) => file.endsWith(".yaml"))
        .sort()
        .map((file) => parseHardware(readFileSync(`${directory}${file}`, "utf8"), file));
    return read;
}
const share = z.number().positive();
const amount = z.number().min(0);
const kernelPass = z.strictObject({
    shareOfPeak: share,
    tileRows: z.int().min(1),
    tileColumns: z.int().min(1),
    overheadTokens: amount,
    launchUs: amount,
    emptyBlockUs: amount,
    hostUs: amount,
    queryPasses: amount,
    keyPasses: amount,
    accumulatePasses: amount,
});
const collective = z.strictObject({
    baseUs: amount,
    algorithm: z.enum(["ring", "pairs"]),
    packPasses: amount,
    lineRate: z.tuple([share, share]),
    shares: z.array(z.strictObject({ nodes: z.int().min(1), points: z.array(z.tuple([share, share])).min(1) })).min(1),
});
const hardwareSchema = z.strictObject({
    devices: z.array(z.string()),
    dtype: z.enum(["fp32", "bf16"]),
    kernels: z.record(z.string(), z.strictObject({ forward: kernelPass, backward: kernelPass })),
    memory: z.strictObject({ copyShare: share, launchUs: amount }),
    communication: z.strictObject({
        launchUs: amount,
        hostUs: amount,
        slowdown: z.number().min(1),
        ranksPerNic: z.int().min(1),
        hopUs: z.tuple([amount, amount]),
        collectives: z.partialRecord(z.enum(groupKinds), collective),
    }),
});
function withoutSources(value) {
    if (Array.isArray(value))
        return value.map(withoutSources);
    if (typeof value !== "object" || value === null)
        return value;
    if ("value" in value && "source" in value)
        return withoutSources(value.value);
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, withoutSources(inner)]));
}
//# sourceMappingURL=hardware.js.map