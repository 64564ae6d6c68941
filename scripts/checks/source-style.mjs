import { $, glob } from "zx";
import { oneOutcome } from "./outcome.mjs";

/** The clang-format whose output counts: other versions break lines elsewhere. It is Debian 12's. */
const clangFormatMajor = "14";

/** Lint rules and formatting of TypeScript, JavaScript and JSON. */
export async function lint(root) {
  const run = await $({
    cwd: root,
    stdio: "inherit",
    nothrow: true,
  })`node_modules/.bin/biome check --error-on-warnings`;
  return oneOutcome(run.exitCode === 0);
}

/** Formatting of C++, where the clang-format that the project is formatted with is there. */
export async function nativeFormat(root) {
  const reason = await whyNoClangFormat();
  if (reason) return { passed: 0, failed: 0, skipped: [{ name: "formatting of native code", reason }] };
  const files = await nativeFiles(root);
  const run = await $({ cwd: root, stdio: "inherit", nothrow: true })`clang-format --dry-run --Werror ${files}`;
  return oneOutcome(run.exitCode === 0);
}

/** Formats C++ in place; returns why it could not, or undefined. */
export async function formatNative(root) {
  const reason = await whyNoClangFormat();
  if (reason) return reason;
  await $({ cwd: root })`clang-format -i ${await nativeFiles(root)}`;
}

async function whyNoClangFormat() {
  const version = await $({ nothrow: true, quiet: true })`clang-format --version`;
  if (version.exitCode !== 0) return `no clang-format found (apt-get install clang-format-${clangFormatMajor})`;
  const major = version.stdout.match(/version (\d+)/)?.[1];
  if (major !== clangFormatMajor) return `clang-format ${major} breaks lines elsewhere than ${clangFormatMajor}`;
  return undefined;
}

function nativeFiles(root) {
  return glob(["native/**/*.{h,cpp}", "!native/build*/**"], { cwd: root });
}
