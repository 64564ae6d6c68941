import { main } from "../src/main.ts";

export interface CapturedRun {
  readonly exitCode: number;
  readonly out: string;
  readonly err: string;
}

/** Runs the command in this process and catches what it writes. `line` is split on spaces. */
export async function hsap(line: string): Promise<CapturedRun> {
  const written = { out: "", err: "" };
  const exitCode = await main(line.split(" ").filter(Boolean), {
    out: (text) => {
      written.out += text;
    },
    err: (text) => {
      written.err += text;
    },
    terminal: false,
  });
  return { exitCode, ...written };
}
