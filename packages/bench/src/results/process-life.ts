import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";

/** A process, such that it can be told from all others that ever ran anywhere. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly host: string;
  /** Of the running kernel and its numbering of processes; null where the system has no /proc. */
  readonly kernel: string | null;
  /** When the process started, in the kernel's ticks: numbers are used again. */
  readonly started: string | null;
}

export function thisProcess(): ProcessIdentity {
  return { pid: process.pid, host: hostname(), kernel: kernelHere(), started: startOf(process.pid) };
}

/** Whether the process lives; undefined where it cannot be seen from here: on another machine, or in another container. */
export function isAlive({ pid, host, kernel, started }: ProcessIdentity): boolean | undefined {
  // Hosts can share a name, and a host can have booted again. One kernel can have several names.
  if (kernel !== kernelHere() || (kernel === null && host !== hostname())) return undefined;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return false;
  }
  return startOf(pid) === started;
}

function kernelHere(): string | null {
  try {
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
    return `${boot} ${readlinkSync("/proc/self/ns/pid")}`;
  } catch {
    return null;
  }
}

/** Field 22 of /proc/PID/stat (proc(5)); null where the system has no /proc. */
function startOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The second field is the command's name in parentheses and may hold spaces.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return null;
  }
}
