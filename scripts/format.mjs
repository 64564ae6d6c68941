/** Formats the whole tree and applies the lint rules' safe fixes: `npm run format`. */
import { fileURLToPath } from "node:url";
import { $ } from "zx";
import { formatNative } from "./checks/source-style.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const run = await $({
  cwd: root,
  stdio: "inherit",
  nothrow: true,
})`node_modules/.bin/biome check --write ${process.argv.slice(2)}`;
const reason = await formatNative(root);
if (reason) console.error(`skipped: formatting of native code (${reason})`);
process.exitCode = run.exitCode ?? 1;
