import { $ } from "zx";
import { ClusterError } from "./cluster-error.mjs";

$.verbose = false;
$.quiet = true;

/** Runs a command given as its words and returns what it prints; throws a ClusterError with its last words if it fails. */
export async function command(...words) {
  const result = await $({ nothrow: true })`${words}`;
  if (result.exitCode === 0) return result.stdout;
  const said = result.stderr.trim().split("\n").at(-1) || `exit code ${result.exitCode}`;
  throw new ClusterError(`failed: ${words.join(" ")} (${said})`);
}
