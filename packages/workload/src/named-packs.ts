import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { lengthsFromJson } from "./document-lengths.ts";
import { InputError } from "./input-error.ts";
import { type PackedBatch, packedBatch } from "./packed-batch.ts";

const packDirectory = fileURLToPath(new URL("../packs/", import.meta.url));

/** The names of the fixed packs that planners are compared on, `MIX-RANKS`: 8192 tokens for each of 8 to 64 ranks. */
export function packNames(): string[] {
  return readdirSync(packDirectory)
    .filter((file) => file.endsWith(".json"))
    .map((file) => file.slice(0, -".json".length))
    .sort();
}

/**
 * The fixed pack of that name, such as `hybrid-64`.
 *
 * @throws InputError if there is none.
 */
export function namedPack(name: string): PackedBatch {
  if (!packNames().includes(name)) throw new InputError(`unknown pack: ${name} (known: ${packNames().join(", ")})`);
  const file = `${packDirectory}${name}.json`;
  return packedBatch(lengthsFromJson(readFileSync(file, "utf8"), file));
}
