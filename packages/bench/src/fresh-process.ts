import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/**
 * What the program `bin/NAME.js` of this package prints as JSON, run in a process of its own, where nothing is warm yet.
 *
 * @throws Error if the package is not built: a process can start only what is.
 */
export async function inFreshProcess<Result>(
  name: string,
  parameters: readonly string[],
  signal?: AbortSignal,
): Promise<Result> {
  // Both src and dist are direct children of the package.
  const [program, built] = [`../bin/${name}.js`, `../dist/${name}.js`].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  );
  if (!existsSync(built)) throw new Error("the package bench is not built (run npm run setup first)");
  const { stdout } = await promisify(execFile)(process.execPath, [program, ...parameters], signal ? { signal } : {});
  return JSON.parse(stdout) as Result;
}
