import { renameSync, rmSync, writeFileSync } from "node:fs";
import { InputError } from "@hsap/workload";

/**
 * Writes texts by file name. Whoever reads a file meanwhile finds the old one or the new one, whole, and none is replaced before all are
 * written.
 *
 * @throws InputError if a file cannot be written.
 */
export function writeWholeFiles(texts: Readonly<Record<string, string>>): void {
  const unfinished = (file: string) => `${file}.part`;
  const files = Object.keys(texts);
  let file = files[0];
  try {
    for (file of files) writeFileSync(unfinished(file), texts[file]);
    for (file of files) renameSync(unfinished(file), file);
  } catch (error) {
    for (const written of files) rmSync(unfinished(written), { force: true });
    throw new InputError(`unwritable file: ${file} (${(error as Error).message})`);
  }
}
