import { InputError } from "@hsap/workload";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  decodeSchedule,
  decodeTables,
  encodeSchedule,
  encodeTables,
  lower,
  opKinds,
  type Tables,
} from "../src/index.ts";
import { anySchedule } from "./any-schedule.ts";
import { smallProblem, smallRing } from "./small-ring.ts";

const ring = () => smallRing(smallProblem({ lengths: [5, 30, 1], ranks: 3, ranksPerNode: 2, pass: "backward" }));

/** The ring's bytes with one column or the metadata replaced, correctly encoded otherwise. */
function altered(change: (tables: Record<string, Record<string, unknown>>, metadata: Record<string, unknown>) => void) {
  const { tables, metadata } = decodeTables(encodeSchedule(ring()));
  const copy = Object.fromEntries(Object.entries(tables).map(([name, columns]) => [name, { ...columns }]));
  const meta = { ...(metadata as Record<string, unknown>) };
  change(copy, meta);
  return encodeTables(copy as Tables, meta);
}

describe("encodeSchedule", () => {
  it("is read back by decodeSchedule, column by column", () => {
    expect(decodeSchedule(encodeSchedule(ring()))).toEqual(ring());
    fc.assert(
      fc.property(anySchedule(), (schedule) => {
        expect(decodeSchedule(encodeSchedule(schedule))).toEqual(schedule);
      }),
    );
  });

  it("keeps what is resident", () => {
    const block = { tensor: "q", part: 0, tokenBegin: 0, tokenEnd: 36, headBegin: 0, headEnd: 2 };
    const schedule = { ...ring(), resident: [[block], [], []] };
    expect(decodeSchedule(encodeSchedule(schedule))).toEqual(schedule);
  });

  it("gives the same bytes for the same schedule", () => {
    expect(encodeSchedule(ring())).toEqual(encodeSchedule(ring()));
  });

  it("can be read from bytes at any alignment, and without a copy from aligned ones", () => {
    const bytes = encodeSchedule(ring());
    const shifted = new Uint8Array(bytes.length + 3).subarray(3);
    shifted.set(bytes);
    expect(decodeSchedule(shifted)).toEqual(ring());
    expect(decodeSchedule(bytes).ops.kind.buffer).toBe(bytes.buffer);
  });
});

describe("decodeSchedule refuses", () => {
  const cases: [what: string, bytes: () => Uint8Array, message: string][] = [
    ["no bytes at all", () => new Uint8Array(0), "not a schedule: begins with  (must be 89 48 53 41 50 0d 0a 1a)"],
    [
      "another kind of file",
      () => new TextEncoder().encode("hsap schedule 1\nrank 0"),
      "not a schedule: begins with 68 73 61 70",
    ],
    ["a header alone", () => encodeSchedule(ring()).slice(0, 20), "truncated schedule: 20 bytes (the header has 32)"],
    [
      "another version",
      () => {
        const bytes = encodeSchedule(ring());
        bytes[8] = 7;
        return bytes;
      },
      "unknown version: 7 (must be 1)",
    ],
    [
      "a changed byte",
      () => {
        const bytes = encodeSchedule(ring());
        bytes[bytes.length - 20] ^= 1;
        return bytes;
      },
      "damaged schedule: checksum ",
    ],
    [
      "lowered tables, which are of another form",
      () => encodeTables({ ...lower(ring()) }, { form: "lowered" }),
      "unknown form: lowered (must be schedule)",
    ],
    ["a missing column", () => altered(({ ops }) => delete ops.peer), "missing column: ops.peer"],
    [
      "a column of another type",
      () =>
        altered(({ ops }) => {
          ops.peer = Float64Array.of(1);
        }),
      "invalid column: ops.peer is a Float64Array (must be Int32Array)",
    ],
    [
      "columns of different lengths",
      () =>
        altered(({ blocks }) => {
          blocks.part = Int32Array.of(0);
        }),
      "invalid length of blocks.part: 1 (must be ",
    ],
    [
      "an unknown op",
      () =>
        altered(({ ops }) => {
          ops.kind = (ops.kind as Uint8Array).with(2, 99);
        }),
      `invalid ops.kind: 99 at row 2 (must be from 0 to ${opKinds.length - 1})`,
    ],
    [
      "an unknown mask",
      () =>
        altered(({ ops }) => {
          ops.attribute = (ops.attribute as Uint8Array).with(2, 3);
        }),
      "invalid ops.attribute: 3 at row 2 (must be below 3)",
    ],
    [
      "a block of an unknown tensor",
      () =>
        altered(({ blocks }) => {
          blocks.tensor = (blocks.tensor as Uint8Array).with(0, 9);
        }),
      "invalid blocks.tensor: 9 at row 0 (must be from 0 to 8)",
    ],
    [
      "an operand that is no block",
      () =>
        altered(({ ops }) => {
          ops.operands = (ops.operands as Int32Array).with(1, -1);
        }),
      "invalid ops.operands: -1 at row 1 (must be from 0 to ",
    ],
    [
      "offsets that fall",
      () =>
        altered(({ ops }) => {
          ops.operandBegin = (ops.operandBegin as Int32Array).with(1, 1_000_000);
        }),
      "invalid ops.operandBegin: 4 at row 2 (must not fall)",
    ],
    [
      "offsets that leave rows out",
      () =>
        altered(({ rank }) => {
          rank.opBegin = (rank.opBegin as Int32Array).with(0, 1);
        }),
      "invalid rank.opBegin: 1 to ",
    ],
    [
      "a layout for other ranks",
      () =>
        altered(({ rank }) => {
          rank.rangeBegin = Int32Array.of(0, 3);
        }),
      "invalid length of rank.rangeBegin: 2 (must be 4)",
    ],
    [
      "documents without tokens",
      () =>
        altered(({ batch }) => {
          batch.cuSeqlens = Int32Array.of(0, 5, 5, 36);
        }),
      "invalid length: 0 at document 1",
    ],
    ["metadata without a strategy", () => altered((_, metadata) => delete metadata.strategy), "invalid metadata: "],
  ];

  it.each(cases)("%s", (_, bytes, message) => {
    const decode = () => decodeSchedule(bytes());
    expect(decode).toThrow(InputError);
    expect(decode).toThrow(message);
    expect(decode).not.toThrow("\n");
  });

  it("bytes cut off anywhere", () => {
    const bytes = encodeSchedule(ring());
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), (length) => {
        expect(() => decodeSchedule(bytes.slice(0, length))).toThrow(InputError);
      }),
    );
  });

  it("bytes changed anywhere", () => {
    const bytes = encodeSchedule(ring());
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const changed = bytes.slice();
        changed[at] ^= change;
        expect(() => decodeSchedule(changed)).toThrow(InputError);
      }),
    );
  });
});

describe("encodeTables", () => {
  it("keeps a lowered schedule, table by table", () => {
    const lowered = lower(ring());
    const { tables, metadata } = decodeTables(encodeTables({ ...lowered }, { form: "lowered" }));
    expect(tables).toEqual(lowered);
    expect(metadata).toEqual({ form: "lowered" });
  });

  it("refuses a name that does not fit", () => {
    expect(() => encodeTables({ t: { ["x".repeat(60)]: Uint8Array.of(1) } })).toThrow("column name too long: t.xxx");
  });
});
