import { expect, test } from "vitest";
import { finishedRecords } from "../src/results/finished-records.ts";

const record = (key: string, environment: string, ms = 0) => ({ key, environment, ms });

test("what is finished of a plan was made in this environment, and what was not is counted once by key", () => {
  const notes: string[] = [];
  const trials = [
    ...[record("a", "now", 1), record("a", "before", 2), record("a", "now", 3)],
    ...[record("b", "before"), record("b", "earlier"), record("c", "before"), record("other plan", "now")],
  ];
  const log = { trials, truncatedLines: [4] };
  const planned = new Set(["a", "b", "c", "d"]);
  const options = { what: "trials", onNote: (note: string) => notes.push(note) };
  const finished = finishedRecords("trials.jsonl", log, planned, { id: "now" }, options);
  expect([...finished]).toEqual([["a", record("a", "now", 3)]]);
  expect(notes).toEqual([
    "left out: line 4 of trials.jsonl was cut off by a run that was killed",
    "measured anew: 2 trials there come from another machine or build and cannot be compared",
    "resumed: 1 of 4 trials are already there",
  ]);
});
