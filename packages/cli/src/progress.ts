import type { Output } from "./output.ts";

/** Shows how far a run is, with the time left. */
export interface Progress {
  /** `done` is the share of the work, 0 to 1. */
  update(done: number, label: string): void;
  /** A line that stays, above the bar. */
  note(line: string): void;
  stop(): void;
}

/** A bar on a terminal; elsewhere a plain line whenever another tenth is done. `began` is when the work did (ms). */
export async function startProgress(output: Output, began = performance.now()): Promise<Progress> {
  return output.terminal ? bar(output, began) : plainLines(output, began);
}

async function bar(output: Output, began: number): Promise<Progress> {
  const { SingleBar, Presets } = (await import("cli-progress")).default;
  const format = "{bar} {percentage} % | {left} | {label}";
  const shown = new SingleBar(
    { format, hideCursor: true, barsize: 24, clearOnComplete: true, etaBuffer: 1 },
    Presets.shades_classic,
  );
  shown.start(1, 0, { left: "", label: "" });
  return {
    update: (done, label) => shown.update(done, { left: timeLeft(began, done), label: label.slice(0, 48) }),
    note: (line) => output.err(`\r\x1b[K${line}\n`),
    stop: () => shown.stop(),
  };
}

function plainLines(output: Output, began: number): Progress {
  let tenths = -1;
  return {
    update: (done, label) => {
      if (Math.floor(done * 10) <= tenths) return;
      tenths = Math.floor(done * 10);
      output.err(`${String(Math.floor(done * 100)).padStart(3)} % | ${timeLeft(began, done)} | ${label}\n`);
    },
    note: (line) => output.err(`${line}\n`),
    stop: () => undefined,
  };
}

/** `1:05 left`, from the share of the work done so far. */
function timeLeft(beganMs: number, done: number, nowMs = performance.now()): string {
  if (done >= 1) return `${clock((nowMs - beganMs) / 1000)} in all`;
  if (done < 0.02) return "estimating";
  return `${clock(((nowMs - beganMs) / 1000) * (1 / done - 1))} left`;
}

function clock(seconds: number): string {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
