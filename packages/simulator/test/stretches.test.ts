import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RowSet, Stretches } from "../src/stretches.ts";
import { plainCluster, plainProblem, ringSchedule } from "./plain-hardware.ts";

/** Stretches of the given rows, as a call's would be. */
function stretchesOf(rows: ReadonlySet<number>): Stretches {
  const stretches = new Stretches(ringSchedule(plainProblem([4], plainCluster(1))));
  for (const row of [...rows].sort((a, b) => a - b)) {
    if (stretches.count > 0 && stretches.end[stretches.count - 1] === row) stretches.end[stretches.count - 1]++;
    else {
      stretches.begin[stretches.count] = row;
      stretches.end[stretches.count++] = row + 1;
    }
  }
  return stretches;
}

describe("a set of rows", () => {
  it("knows how many of the rows that are added it had", () => {
    const anyRows = fc.uniqueArray(fc.nat(40), { minLength: 1, maxLength: 25 });
    fc.assert(
      fc.property(fc.array(anyRows, { minLength: 1, maxLength: 8 }), (additions) => {
        const set = new RowSet();
        const had = new Set<number>();
        for (const rows of additions) {
          const stretches = stretchesOf(new Set(rows));
          expect(set.add(stretches, 0, stretches.count)).toBe(rows.filter((row) => had.has(row)).length);
          for (const row of rows) had.add(row);
        }
      }),
    );
  });
});

describe("stretches", () => {
  it("join the blocks of a call's ops, each row once", () => {
    const schedule = ringSchedule(plainProblem([10, 5, 1], plainCluster(1)));
    const stretches = new Stretches(schedule);
    stretches.take(0, schedule.ops.kind.length, 0);
    expect([stretches.count, stretches.begin[0], stretches.end[0]]).toEqual([1, 0, 16]);
    stretches.take(1, 3, 1);
    expect([stretches.count, stretches.begin[0], stretches.end[0]]).toEqual([1, 10, 16]);
  });
});
