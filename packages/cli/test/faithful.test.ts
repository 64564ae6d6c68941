import { describe, expect, test } from "vitest";
import { hsap } from "./captured-run.ts";

const pack = "--docs 20,9,35 --ranks 4 --heads 4 --kv-heads 2";

describe("--faithful", () => {
  test("makes verify report the pairs that a published ring contaminates, and end with 1", async () => {
    const { exitCode, out } = await hsap(`verify --faithful --strategy ring ${pack} --json`);
    const report = JSON.parse(out);
    expect(exitCode).toBe(1);
    expect(report.wrong).toBe(1);
    expect(report.rows[0].contaminatedPairs).toBeGreaterThan(0);
    expect(report.rows[0].verdict).toMatch(
      /^WRONG: contamination: rank \d, op \d+ \(attend\), .*; \d+ contaminated pairs when run/,
    );
    // The outputs are those of another mask, not of a rounding error.
    expect(report.rows[0].errors.o).toBeGreaterThan(0.01);
  });

  test("leaves the default right", async () => {
    const { exitCode, out } = await hsap(`verify --strategy ring ${pack} --json`);
    expect([exitCode, JSON.parse(out).rows[0].verdict]).toEqual([0, "ok"]);
  });

  test("makes compile count the padding of every document to 2P tokens", async () => {
    const report = async (faithful: string) =>
      JSON.parse((await hsap(`compile ${faithful} --strategy zigzag-per-document ${pack} --json`)).out);
    expect((await report("")).tokens).toBe(64);
    expect(await report("--faithful")).toMatchObject({ tokens: 24 + 16 + 40, verified: true });
  });

  test("gives way to an option that is given by name", async () => {
    const { exitCode } = await hsap(`compile --faithful --option ignoreBorders=false --strategy ring ${pack}`);
    expect(exitCode).toBe(0);
  });

  test("is refused in one line for a strategy that does what was published by default", async () => {
    const { exitCode, err } = await hsap(`verify --faithful --strategy ulysses ${pack}`);
    expect([exitCode, err]).toEqual([2, "hsap: invalid faithful: ulysses (does by default what was published)\n"]);
  });
});
