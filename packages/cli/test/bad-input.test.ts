import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hsap } from "./captured-run.ts";

let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "hsap-bad-"));
  const put = (name: string, content: string | Uint8Array) => writeFileSync(join(folder, name), content);
  put("broken.csv", 'tokens\n12\n"4');
  put("text.csv", "tokens\n12\nmany\n");
  put("headless.csv", "12\n13\n");
  put("other.csv", "a,b\n1,2\n");
  put("broken.json", "[1, 2");
  put("object.json", '{"tokens": 4}');
  put("broken.yaml", "name: x\nlevels: [");
  put("empty.yaml", "name: x\nlevels: []\n");
  const whole = join(folder, "whole.hsap");
  expect((await hsap(`compile --docs 9,5 --ranks 2 --strategy ring --out ${whole}`)).exitCode).toBe(0);
  const bytes = readFileSync(whole);
  put("cut.hsap", bytes.subarray(0, Math.floor(bytes.length / 2)));
  put("short.hsap", bytes.subarray(0, 5));
  put("nonsense.hsap", "nothing of the sort");
});

afterAll(() => rmSync(folder, { recursive: true }));

/** The command, and what its one line must name: the value, and what would be right. */
const cases: readonly (readonly [title: string, line: string, ...named: RegExp[]])[] = [
  ["an unknown strategy", "compile --strategy rnig --docs 4", /unknown strategy: rnig/, /ring, zigzag/],
  [
    "degrees that do not multiply to the ranks",
    "compile --degrees ulysses=2,sap=3 --ranks 8 --docs 40",
    /ulysses=2,sap=3/,
    /8 ranks/,
  ],
  ["an unknown degree", "compile --strategy ring --degrees sap=8 --docs 40", /unknown degree: sap/, /ring/],
  ["degrees that are no list", "compile --degrees 8 --docs 40", /invalid degrees: 8/, /ulysses=2,sap=4/],
  ["a degree of zero", "compile --degrees ulysses=0,sap=8 --docs 40", /invalid degree ulysses: 0/],
  ["a length of zero", "compile --docs 5,0", /invalid length: 0 at document 1/, /from 1 to 2147483647/],
  ["a negative length", "compile --docs=-5", /invalid length: "-5" at document 0/],
  ["a fractional length", "compile --docs 1.5", /invalid length: "1.5"/, /whole number/],
  ["a length that is no number", "compile --docs 4k", /invalid length: "4k"/],
  ["a length above int32", "compile --docs 2147483648", /invalid length: 2147483648/],
  ["lengths whose sum overflows int32", "compile --docs 2147483647,1", /2147483648 tokens/, /int32/],
  ["no lengths", "compile --docs=", /invalid docs: ""/],
  ["a broken CSV", "compile --lengths DIR/broken.csv", /broken\.csv line 3/],
  ["a CSV with words", "compile --lengths DIR/text.csv", /invalid length: "many"/, /text\.csv line 3/],
  ["a CSV without a header", "compile --lengths DIR/headless.csv", /headless\.csv/],
  ["a CSV without the column", "compile --lengths DIR/other.csv", /missing column: tokens/],
  ["a broken JSON", "compile --lengths DIR/broken.json", /invalid JSON: .*broken\.json/],
  ["a JSON that is no list", "compile --lengths DIR/object.json", /object\.json/, /JSON array/],
  ["a lengths file that is not there", "compile --lengths DIR/none.csv", /none\.csv/],
  ["a lengths file of another kind", "compile --lengths DIR/lengths.txt", /lengths\.txt/, /\.csv or \.json/],
  ["an unknown mix", "compile --mix hybird", /unknown mix: hybird/, /hybrid/],
  ["an unknown pack", "compile --pack hybrid-7", /unknown pack: hybrid-7/, /hybrid-8/],
  ["two sources of documents", "compile --docs 4 --mix code", /--docs and --mix/],
  ["an unknown cluster", "compile --cluster h200 --docs 40", /unknown cluster: h200/, /h100-400g/],
  ["a cluster file that is not there", "compile --cluster DIR/none.yaml --docs 40", /none\.yaml/],
  ["an unreadable cluster file", "compile --cluster DIR/broken.yaml --docs 40", /broken\.yaml/],
  ["a cluster without levels", "compile --cluster DIR/empty.yaml --docs 40", /invalid levels: \[\]/],
  [
    "heads that the kv heads do not divide",
    "compile --heads 8 --kv-heads 3 --docs 40",
    /invalid kvHeads: 3/,
    /heads 8/,
  ],
  [
    "heads that the ranks do not divide",
    "compile --strategy ulysses --heads 6 --kv-heads 6 --ranks 4 --docs 40",
    /6/,
    /4/,
  ],
  ["heads that are zero", "compile --heads 0 --docs 40", /invalid heads: 0/],
  ["ranks that are no number", "compile --ranks eight --docs 40", /invalid ranks: eight/],
  ["ranks that are zero", "compile --ranks 0 --docs 40", /invalid ranks: 0/],
  ["an unknown dtype", "compile --dtype fp16 --docs 40", /unknown dtype: fp16/, /fp32 or bf16/],
  ["an unknown mask", "compile --mask sliding --docs 40", /unknown mask: sliding/, /causal or full/],
  ["an unknown pass", "compile --pass sideways --docs 40", /unknown pass: sideways/],
  ["a memory cap that is no size", "compile --memory-cap lots --docs 40", /invalid memory-cap: lots/, /512MiB/],
  [
    "an option that the strategy lacks",
    "compile --strategy ring --option shard=balanced --docs 40",
    /unknown option: shard/,
  ],
  ["an unknown value of a strategy's option", "compile --option shard=best --docs 40", /invalid shard: best/],
  ["a truncated schedule", "compile --schedule DIR/cut.hsap", /cut\.hsap/],
  ["a schedule cut in its head", "verify --schedule DIR/short.hsap", /short\.hsap/],
  ["a file that is no schedule", "compile --schedule DIR/nonsense.hsap", /nonsense\.hsap/],
  ["a schedule that is not there", "verify --schedule DIR/none.hsap", /none\.hsap/],
  ["an unknown experiment", "experiment evaluatoin", /unknown experiment: evaluatoin/, /evaluation/],
  ["an unknown profile", "experiment --profile tiny", /unknown profile: tiny/, /smoke, short, full/],
  ["a strategy for whole layers", "compile --strategy megatron --docs 40", /megatron \(it splits whole layers/],
  ["an unknown strategy to verify", "verify --strategy ulyses", /unknown strategy: ulyses/],
  ["results without trials", "figures --results DIR", /no trials: /],
  ["an unknown command", "compille", /unknown command 'compille'/],
  ["an unknown option", "compile --rank 4", /unknown option '--rank'/],
  ["an option without its value", "compile --ranks", /argument missing/],
];

describe("bad input gives one line and exit code 2:", () => {
  test.for(cases)("%s", async ([, line, ...named]) => {
    const { exitCode, out, err } = await hsap(line.replaceAll("DIR", folder));
    expect(err).toMatch(/^hsap: [^\n]*\n$/);
    expect(err).not.toMatch(/\n {4}at /);
    for (const pattern of named) expect(err).toMatch(pattern);
    expect(out).toBe("");
    expect(exitCode).toBe(2);
  });
});
