import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { InputError, lengthsFromCsv, lengthsFromJson, parseDocs, readLengths } from "../src/index.ts";

const wanted = "(must be a whole number from 1 to 2147483647)";

describe("lengths on the command line", () => {
  it("are separated by commas, with spaces allowed", () => {
    expect(parseDocs("4096, 128,7")).toEqual([4096, 128, 7]);
  });

  it.each([
    ["", 'invalid docs: "" (give lengths such as 4096,128,7)'],
    ["4096,,7", `invalid length: "" at document 1 ${wanted}`],
    ["4096,x", `invalid length: "x" at document 1 ${wanted}`],
    ["-3", `invalid length: "-3" at document 0 ${wanted}`],
    ["1.5", `invalid length: "1.5" at document 0 ${wanted}`],
    ["1e3", `invalid length: "1e3" at document 0 ${wanted}`],
    ["0", `invalid length: 0 at document 0 ${wanted}`],
    ["4294967296", `invalid length: 4294967296 at document 0 ${wanted}`],
  ])("are refused as %j", (list, message) => {
    expect(() => parseDocs(list)).toThrow(new InputError(message));
  });
});

describe("lengths from CSV", () => {
  it("come from the column named tokens", () => {
    expect(lengthsFromCsv("name,tokens\na,5\nb,6\n", "x.csv")).toEqual([5, 6]);
  });

  it("come from the only column, whatever its name", () => {
    expect(lengthsFromCsv("length\r\n5\r\n6\r\n", "x.csv")).toEqual([5, 6]);
  });

  it("may start with a byte order mark and hold empty lines", () => {
    expect(lengthsFromCsv("\uFEFFtokens\n5\n\n6\n", "x.csv")).toEqual([5, 6]);
  });

  it.each([
    ["", "invalid lengths file: x.csv is empty (needs a header and one line per document)"],
    ["tokens\n", "invalid lengths file: x.csv has no documents (one line each below the header)"],
    ["a,b\n1,2\n", "missing column: tokens in x.csv (found a, b)"],
    ["12\n13\n", "missing header: x.csv line 1 is 12 (the first line names the column, such as tokens)"],
    ["tokens\n5\nsix\n", `invalid length: "six" at x.csv line 3 ${wanted}`],
    ["tokens\n5\n\n-6\n", `invalid length: "-6" at x.csv line 4 ${wanted}`],
    ["tokens\n0\n", `invalid length: 0 at x.csv line 2 ${wanted}`],
    ["tokens\n99999999999\n", `invalid length: 99999999999 at x.csv line 2 ${wanted}`],
  ])("are refused from %j, with file and line", (text, message) => {
    expect(() => lengthsFromCsv(text, "x.csv")).toThrow(new InputError(message));
  });

  it.each(['tokens\n"5\n6\n', "name,tokens\na,5\nb\n"])("are refused from broken CSV %j in one line", (text) => {
    expect(() => lengthsFromCsv(text, "x.csv")).toThrow(/^invalid CSV: x\.csv line \d+ \([^\n]+\)$/);
  });
});

describe("lengths from JSON", () => {
  it("are an array of whole numbers", () => {
    expect(lengthsFromJson("[4096, 128, 7]", "x.json")).toEqual([4096, 128, 7]);
  });

  it.each([
    ["{}", "invalid lengths file: x.json (must be a JSON array of at least 1 length)"],
    ["[]", "invalid lengths file: x.json (must be a JSON array of at least 1 length)"],
    ["[1, 2.5]", `invalid length: 2.5 at x.json document 1 ${wanted}`],
    ['["7"]', `invalid length: "7" at x.json document 0 ${wanted}`],
    ["[null]", `invalid length: null at x.json document 0 ${wanted}`],
  ])("are refused from %j", (text, message) => {
    expect(() => lengthsFromJson(text, "x.json")).toThrow(new InputError(message));
  });

  it("are refused from text that is not JSON, in one line", () => {
    expect(() => lengthsFromJson("[1,\n", "x.json")).toThrow(/^invalid JSON: x\.json \([^\n]+\)$/);
  });
});

describe("a lengths file", () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(path.join(tmpdir(), "hsap-lengths-"));
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  it("is read by its ending", () => {
    const write = (name: string, text: string) => {
      writeFileSync(path.join(directory, name), text);
      return path.join(directory, name);
    };
    expect(readLengths(write("a.csv", "tokens\n5\n"))).toEqual([5]);
    expect(readLengths(write("a.JSON", "[6]"))).toEqual([6]);
  });

  it("is refused with another ending", () => {
    expect(() => readLengths("a.txt")).toThrow(
      new InputError("invalid lengths file: a.txt (must end in .csv or .json)"),
    );
  });

  it("is refused in one line if it cannot be read", () => {
    const missing = path.join(directory, "missing.csv");
    expect(() => readLengths(missing)).toThrow(InputError);
    expect(() => readLengths(missing)).toThrow(/^unreadable lengths file: .*missing\.csv \(ENOENT[^\n]*\)$/);
  });
});
