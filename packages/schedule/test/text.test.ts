import { InputError } from "@hsap/workload";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatSchedule, parseSchedule, ScheduleBuilder } from "../src/index.ts";
import { anySchedule } from "./any-schedule.ts";
import { smallProblem, smallRing } from "./small-ring.ts";

const ring = () => smallRing(smallProblem({ lengths: [5, 3], ranks: 2 }));

/** Without the cluster, whose preset is not what these tests are about. */
const withoutCluster = (text: string) => text.replace(/^cluster .*\n/m, "");

describe("formatSchedule", () => {
  it("prints a header, then one op a line under its rank and group", () => {
    expect(withoutCluster(formatSchedule(ring()))).toBe(`hsap schedule 1
problem forward causal heads=4 kvHeads=2 headDim=8 dtype=fp32
documents 5 3
strategy ring
degrees ring=2
owns 0: 0:4
owns 1: 4:8
rank 0
  group 0 p2p
    send k[0:4 h0:2] v[0:4 h0:2] -> 1
    recv k[4:8 h0:2] v[4:8 h0:2] <- 1
  attend causal q[0:4 h0:4] k[0:4 h0:2] v[0:4 h0:2] -> o[0:4 h0:4] lse[0:4 h0:4]
rank 1
  group 0 p2p
    send k[4:8 h0:2] v[4:8 h0:2] -> 0
    recv k[0:4 h0:2] v[0:4 h0:2] <- 0
  attend full q[4:5 h0:4] k[4:5 h0:2] v[4:5 h0:2] -> o[4:5 h0:4] lse[4:5 h0:4]
  attend causal q[5:8 h0:4] k[5:8 h0:2] v[5:8 h0:2] -> o[5:8 h0:4] lse[5:8 h0:4]
  attend full q[4:5 h0:4] k[0:4 h0:2] v[0:4 h0:2] -> o[4:5 h0:4] lse[4:5 h0:4]
`);
  });

  it("prints every kind of op, partial sums with their number, and what is a strategy's own", () => {
    const problem = smallProblem({ lengths: [4], ranks: 1, pass: "backward" });
    const tensors = [
      { name: "s", heads: 4, width: 4, dtype: "fp32", role: "internal", accumulates: false } as const,
      { name: "dkx", heads: 4, width: 8, dtype: "fp32", role: "internal", accumulates: true } as const,
    ];
    const builder = new ScheduleBuilder(problem, "unfused", { ring: 1 }, [[{ begin: 0, end: 4 }]], tensors);
    const b = (name: string, part = 0) => builder.block(name, { begin: 0, end: 4 }, undefined, part);
    const program = builder.rank(0);
    program.hold(builder.block("q", { begin: 0, end: 4 }, [0, 2]));
    program.compute("score", [b("q"), b("k"), b("s", 2)], "document");
    program.compute("softmax", [b("lse"), b("s", 2)]);
    program.compute("weigh", [b("s", 2), b("v"), b("do"), b("delta"), b("dv")]);
    program.compute("unscore", [b("s", 2), b("q"), b("k"), b("dq"), b("dkx")]);
    program.reduce(b("dk", 1));
    program.reduce(b("dk"), b("dkx"), b("dk", 1));
    program.copy(b("dkx", 1), b("dkx"));
    expect(formatSchedule(builder.finish()).split("degrees ring=1\n")[1]).toBe(
      `tensor s heads=4 width=4 dtype=fp32 role=internal accumulates=no
tensor dkx heads=4 width=8 dtype=fp32 role=internal accumulates=yes
owns 0: 0:4
holds 0: q[0:4 h0:2]
rank 0
  score document q[0:4 h0:4] k[0:4 h0:2] -> s#2[0:4 h0:4]
  softmax lse[0:4 h0:4] s#2[0:4 h0:4]
  weigh s#2[0:4 h0:4] v[0:4 h0:2] do[0:4 h0:4] delta[0:4 h0:4] -> dv[0:4 h0:2]
  unscore s#2[0:4 h0:4] q[0:4 h0:4] k[0:4 h0:2] -> dq[0:4 h0:4] dkx[0:4 h0:4]
  reduce dk#1[0:4 h0:2]
  reduce dk[0:4 h0:2] <- dkx[0:4 h0:4] dk#1[0:4 h0:2]
  copy dkx#1[0:4 h0:4] <- dkx[0:4 h0:4]
`,
    );
    expect(parseSchedule(formatSchedule(builder.finish()))).toEqual(builder.finish());
  });
});

describe("parseSchedule", () => {
  it("reads back what was printed, column by column", () => {
    for (const pass of ["forward", "backward"] as const) {
      const schedule = smallRing(smallProblem({ lengths: [7, 1, 30], ranks: 5, ranksPerNode: 2, pass }));
      expect(parseSchedule(formatSchedule(schedule))).toEqual(schedule);
    }
  });

  it("reads back any schedule, right or wrong", () => {
    fc.assert(
      fc.property(anySchedule(), (schedule) => {
        expect(parseSchedule(formatSchedule(schedule))).toEqual(schedule);
      }),
    );
  });

  it("does not mind blank lines, indentation and comments", () => {
    const text = formatSchedule(ring());
    const loose = text.replaceAll("\n", "\n\n# a comment\n\t ");
    expect(parseSchedule(loose)).toEqual(ring());
  });

  it.each([
    ["hsap schedule 1", "hsap schedule 2", 'line 1: "hsap schedule 2" (must be "hsap schedule 1")'],
    ["heads=4", "heads=3", "line 2: invalid kvHeads: 2 (must divide heads 3)"],
    ["heads=4", "heads=four", "line 2: invalid heads: four (must be a whole number from 0 to 2147483647)"],
    ["forward", "sideways", "line 2: unknown pass: sideways (must be forward, backward)"],
    [
      "documents 5 3",
      "documents 5 0",
      "line 3: invalid length: 0 at document 1 (must be a whole number from 1 to 2147483647)",
    ],
    ["documents 5 3", "pages 5 3", "line 3: unknown header line: pages (must be problem, documents, cluster, "],
    ["cluster {", "cluster {{", "line 4: invalid cluster: {{"],
    ["owns 1: 4:8", "owns 2: 4:8", "line 8: invalid rank: 2: (must be below 2, with a colon)"],
    ["owns 1: 4:8", "owns 1: 4-8", "line 8: invalid range: 4-8 (must be begin:end)"],
    ["degrees ring=2", "", "missing line: degrees (the header must have one)"],
    ["group 0", "group 1", "line 10: invalid group: 1 (must be 0: groups are counted)"],
    ["group 0 p2p", "group 0 gather", "line 10: unknown kind of group: gather (must be p2p, allGather, "],
    ["  group 0 p2p\n", "", "line 10: invalid op: send (must be in a group)"],
    ["send k[0:4 h0:2]", "send kk[0:4 h0:2]", "line 11: unknown tensor: kk (must be q, k, v, o, lse)"],
    ["send k[0:4 h0:2]", "send k[0:4]", "line 11: invalid block: k[0:4] (must be tensor[begin:end hbegin:end] or "],
    ["v[0:4 h0:2] -> 1", "v[0:4 h0:2] -> one", "line 11: invalid rank: one (must be a whole number from 0 to "],
    ["v[0:4 h0:2] -> 1", "v[0:4 h0:2]", "line 11: missing -> and a rank"],
    ["v[0:4 h0:2] -> 1", "v[0:4 h0:2] -> 1 2", "line 11: invalid word: 2 (must be the end of the line)"],
    ["attend causal", "attend triangular", "line 13: unknown mask: triangular (must be full, causal, document)"],
    ["attend causal", "atend causal", "line 13: unknown op: atend (must be rank, group, send, "],
    [" -> o[0:4 h0:4]", " o[0:4 h0:4]", "line 13: invalid word: o[0:4 h0:4] (must be -> after 3 blocks)"],
    [
      "k[0:4 h0:2] v[0:4 h0:2] -> o",
      "k[0:4 h0:70000] v[0:4 h0:2] -> o",
      "line 13: invalid head: 70000 (must be a whole number from 0 to 65535)",
    ],
    ["rank 1", "rank 7", "line 14: invalid rank: 7 (must be 1: programs stand in order)"],
  ])("refuses %j turned into %j", (from, to, message) => {
    const text = formatSchedule(ring());
    expect(text).toContain(from);
    const parse = () => parseSchedule(text.replace(from, to));
    expect(parse).toThrow(InputError);
    expect(parse).toThrow(message);
  });

  it("refuses an empty text", () => {
    expect(() => parseSchedule("\n")).toThrow('line 1: "" (must be "hsap schedule 1")');
  });
});
