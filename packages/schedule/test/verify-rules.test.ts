import { describe, expect, it } from "vitest";
import { formatSchedule, parseSchedule, type Rule, rules, type Schedule, verify, verifyOrThrow } from "../src/index.ts";
import { handMade } from "./hand-made.ts";
import { smallProblem, smallRing } from "./small-ring.ts";

/** The schedule with each text replaced, as often as it occurs; a text that does not occur is a mistake in the test. */
function edited(schedule: Schedule, ...edits: readonly (readonly [from: string, to: string])[]): Schedule {
  let text = formatSchedule(schedule);
  for (const [from, to] of edits) {
    expect(text).toContain(from);
    text = text.replaceAll(from, to);
  }
  return parseSchedule(text);
}

const messages = (schedule: Schedule) => verify(schedule).map(({ message }) => message);

/** Expects findings of one rule and no other; the first has this message. */
function expectOnly(rule: Rule, schedule: Schedule, message: string): void {
  const findings = verify(schedule);
  expect(findings[0]?.message).toBe(`${rule}: ${message}`);
  expect(new Set(findings.map((finding) => finding.rule))).toEqual(new Set([rule]));
}

// Rank 0 owns tokens 0 to 4 of a document of 5 and of one of 3, rank 1 the rest.
const ring = () => smallRing(smallProblem({ lengths: [5, 3], ranks: 2 }));
const backward = () => smallRing(smallProblem({ lengths: [5, 3], ranks: 2, pass: "backward" }));

describe("verify", () => {
  it("finds nothing wrong with right schedules", () => {
    for (const mask of ["causal", "full"] as const)
      for (const pass of ["forward", "backward"] as const)
        for (const ranks of [1, 2, 3, 5])
          for (const lengths of [[1], [5, 3], [7, 1, 30, 2], [64]])
            expect(messages(smallRing(smallProblem({ lengths, ranks, mask, pass })))).toEqual([]);
  });

  it.each(Object.entries(handMade))("finds nothing wrong with %s", (_, text) => {
    expect(messages(parseSchedule(text))).toEqual([]);
  });

  it("names rule, rank, op and block in one line", () => {
    const [finding] = verify(edited(ring(), ["attend causal q[0:4", "attend full q[0:4"]));
    expect(finding).toEqual({
      rule: "contamination",
      rank: 0,
      op: 2,
      block: { tensor: "k", part: 0, tokenBegin: 0, tokenEnd: 4, headBegin: 0, headEnd: 2 },
      message:
        "contamination: rank 0, op 2 (attend), k[0:4 h0:2]: query 0 does not see keys after it (the tile is not masked)",
    });
  });

  it("reports at most 20 findings of a rule", () => {
    const schedule = smallRing(smallProblem({ lengths: Array.from({ length: 60 }, () => 2), ranks: 2 }));
    expect(messages(edited(schedule, ["attend causal", "attend full"]))).toHaveLength(20);
  });

  it("has a rule for every finding in this file", () => {
    expect(rules).toEqual(["matching", "contamination", "memory", "availability", "ownership", "coverage"]);
  });
});

describe("verifyOrThrow", () => {
  it("returns a right schedule, and throws the first finding of a wrong one", () => {
    const right = ring();
    expect(verifyOrThrow(right)).toBe(right);
    const wrong = edited(ring(), ["attend causal", "attend full"]);
    expect(() => verifyOrThrow(wrong)).toThrow(
      "wrong schedule of ring: contamination: rank 0, op 2 (attend), k[0:4 h0:2]: query 0 does not see keys after it " +
        "(the tile is not masked) (and 1 more)",
    );
  });
});

describe("coverage", () => {
  it("is broken by a tile that nobody computes", () => {
    const line = "  attend causal q[0:4 h0:4] k[0:4 h0:2] v[0:4 h0:2] -> o[0:4 h0:4] lse[0:4 h0:4]\n";
    expectOnly("coverage", edited(ring(), [line, ""]), "rank 0, o[0:4 h0:4]: keys 0:4 are computed by nobody");
  });

  it("is broken by a tile computed twice", () => {
    const line = "  attend full q[4:5 h0:4] k[0:4 h0:2] v[0:4 h0:2] -> o[4:5 h0:4] lse[4:5 h0:4]\n";
    expectOnly(
      "coverage",
      edited(ring(), [line, line + line]),
      "rank 1, o[4:5 h0:4]: keys 0:4 are computed by op 5 of rank 1 and by op 4 of rank 1",
    );
  });

  it("is broken by a mask that leaves pairs out", () => {
    const full = smallRing(smallProblem({ lengths: [8], ranks: 2, mask: "full" }));
    expectOnly(
      "coverage",
      edited(full, ["attend full q[0:4 h0:4] k[0:4", "attend causal q[0:4 h0:4] k[0:4"]),
      "rank 0, o[0:1 h0:4]: keys 1:4 are computed by nobody",
    );
  });

  it("is broken by heads left out", () => {
    const schedule = edited(
      ring(),
      ["q[0:4 h0:4]", "q[0:4 h0:3]"],
      ["o[0:4 h0:4]", "o[0:4 h0:3]"],
      ["lse[0:4 h0:4]", "lse[0:4 h0:3]"],
    );
    expectOnly("coverage", schedule, "rank 0, o[0:4 h3:4]: keys 0:4 are computed by nobody");
  });

  it("is broken in gradients of keys by queries left out", () => {
    const line = /\n {2}attend full q\[4:5 h0:4\] k\[0:4.*\n/;
    const text = formatSchedule(backward());
    expect(text).toMatch(line);
    // Without the tile there is no share of dk and dv to send either.
    const schedule = parseSchedule(
      text
        .replace(line, "\n")
        .replaceAll(/\n {2}group 1 p2p\n.*\n/g, "\n")
        .replaceAll(/\n {2}reduce.*/g, ""),
    );
    const findings = messages(schedule);
    expect(findings).toContain("coverage: rank 1, dq[4:5 h0:4]: keys 0:4 are computed by nobody");
    expect(findings).toContain("coverage: rank 0, dk[0:4 h0:2]: queries 4:5 are computed by nobody");
    expect(findings.every((message) => message.startsWith("coverage"))).toBe(true);
  });
});

describe("contamination", () => {
  it("is broken by a tile that spans two documents", () => {
    const schedule = edited(
      ring(),
      ["  attend full q[4:5 h0:4] k[4:5 h0:2] v[4:5 h0:2] -> o[4:5 h0:4] lse[4:5 h0:4]\n", ""],
      [
        "q[5:8 h0:4] k[5:8 h0:2] v[5:8 h0:2] -> o[5:8 h0:4] lse[5:8",
        "q[4:8 h0:4] k[4:8 h0:2] v[4:8 h0:2] -> o[4:8 h0:4] lse[4:8",
      ],
    );
    expectOnly(
      "contamination",
      schedule,
      "rank 1, op 2 (attend), k[4:8 h0:2]: queries 4:8 cross the document border 5",
    );
  });

  it("is broken by a tile that sees later keys", () => {
    expectOnly(
      "contamination",
      edited(ring(), ["attend causal q[5:8", "attend full q[5:8"]),
      "rank 1, op 3 (attend), k[5:8 h0:2]: query 5 does not see keys after it (the tile is not masked)",
    );
  });

  it("is not broken by a causal tile whose keys all come before its queries", () => {
    expect(messages(edited(ring(), ["attend full q[4:5 h0:4] k[0:4", "attend causal q[4:5 h0:4] k[0:4"]))).toEqual([]);
  });

  it("is broken by unfused scores that do not mask documents", () => {
    expectOnly(
      "contamination",
      parseSchedule(handMade.unfused.replaceAll("score document", "score causal")),
      "rank 0, op 1 (score), kx[0:4 h0:2]: queries 0:4 cross the document border 3",
    );
  });
});

describe("availability", () => {
  it("is broken by a tile whose keys never came", () => {
    const text = formatSchedule(ring()).replaceAll(/\n {2}group.*\n.*\n.*/g, "");
    expectOnly("availability", parseSchedule(text), "rank 1, op 2 (attend), k[0:4 h0:2]: is not held by then");
  });

  it("is broken by a tile that stands before the group that brings its keys", () => {
    const tile = "  attend full q[4:5 h0:4] k[0:4 h0:2] v[0:4 h0:2] -> o[4:5 h0:4] lse[4:5 h0:4]\n";
    const schedule = edited(ring(), [tile, ""], ["rank 1\n", `rank 1\n${tile}`]);
    expectOnly("availability", schedule, "rank 1, op 0 (attend), k[0:4 h0:2]: is not held by then");
  });

  it("is broken by sending a partial sum that was never made", () => {
    const schedule = edited(
      backward(),
      ["send dk#2[0:4 h0:2]", "send dk#9[0:4 h0:2]"],
      ["recv dk#2[0:4 h0:2]", "recv dk#9[0:4 h0:2]"],
      ["<- dk#2[0:4 h0:2]", "<- dk#9[0:4 h0:2]"],
    );
    const findings = messages(schedule);
    expect(findings).toContain("availability: rank 1, op 5 (send), dk#9[0:4 h0:2]: is not held by then");
    expect(findings.every((message) => message.startsWith("availability"))).toBe(true);
  });

  it("is broken by a key head that is not the query heads' own", () => {
    const schedule = edited(ring(), ["q[0:4 h0:4] k[0:4 h0:2] v[0:4 h0:2]", "q[0:4 h0:4] k[0:4 h0:1] v[0:4 h0:1]"]);
    expectOnly("availability", schedule, "rank 0, op 2 (attend), k[0:4 h0:1]: has no key heads for query heads 0:4");
  });

  it("is broken by values of other tokens than the keys", () => {
    expectOnly(
      "availability",
      edited(ring(), ["k[5:8 h0:2] v[5:8 h0:2] ->", "k[5:8 h0:2] v[4:7 h0:2] ->"]),
      "rank 1, op 3 (attend), v[4:7 h0:2]: not the same rows as k[5:8 h0:2]",
    );
  });

  it("is broken by a block outside of its tensor", () => {
    expectOnly(
      "availability",
      edited(ring(), ["attend causal q[5:8 h0:4]", "attend causal q[5:9 h0:4]"]),
      "rank 1, op 3 (attend), q[5:9 h0:4]: not a piece of 8 tokens and 4 heads",
    );
  });

  it("is broken by a tensor in the place of another", () => {
    expectOnly(
      "availability",
      edited(ring(), ["k[5:8 h0:2] v[5:8 h0:2] ->", "k[5:8 h0:2] k[5:8 h0:2] ->"]),
      "rank 1, op 3 (attend), k[5:8 h0:2]: holds something else than v",
    );
  });

  it("is broken by a copy of the wrong tensor", () => {
    const text = handMade.unfused.replace("copy kx[0:4 h0:2] <- k[", "copy kx[0:4 h0:2] <- v[");
    expectOnly("availability", parseSchedule(text), "rank 0, op 1 (score), kx[0:4 h0:2]: holds something else than k");
  });

  it("is broken by scores multiplied with values of other keys", () => {
    const text = handMade.unfused.replace("weigh s[0:4 h0:2] v[0:4 h0:1]", "weigh s[0:4 h0:2] v[4:8 h0:1]");
    expectOnly("availability", parseSchedule(text), "rank 0, op 6 (weigh), v[4:8 h0:1]: the scores are of keys 0:4");
  });

  it("is broken by scores that no softmax has seen", () => {
    const text = handMade.unfused.replace(/\n {2}softmax.*/, "");
    expectOnly(
      "availability",
      parseSchedule(text),
      "rank 0, op 5 (weigh), s[0:4 h0:2]: holds scores, not probabilities",
    );
  });

  it("is broken by an op that the pass does not have", () => {
    const schedule = edited(ring(), [
      "attend full q[4:5 h0:4] k[4:5 h0:2] v[4:5 h0:2] ->",
      "unscore q[4:5 h0:4] k[4:5 h0:2] v[4:5 h0:2] ->",
    ]);
    expectOnly("availability", schedule, "rank 1, op 2 (unscore): no such op in a forward pass");
  });
});

describe("matching", () => {
  it("is broken by a send without its receive", () => {
    expectOnly(
      "matching",
      edited(ring(), ["    recv k[4:8 h0:2] v[4:8 h0:2] <- 1\n", ""]),
      "rank 1, op 0 (send), k[4:8 h0:2]: rank 0 has no receive for it",
    );
  });

  it("is broken by a receive without its send", () => {
    expectOnly(
      "matching",
      edited(ring(), ["    send k[4:8 h0:2] v[4:8 h0:2] -> 0\n", ""]),
      "rank 0, op 1 (recv), k[4:8 h0:2]: rank 1 sends nothing for it",
    );
  });

  it("is broken by two sides that disagree about a block", () => {
    expectOnly(
      "matching",
      edited(ring(), ["recv k[4:8 h0:2]", "recv k[4:7 h0:2]"]),
      "rank 1, op 0 (send), k[4:8 h0:2]: op 1 of rank 0 takes it as k[4:7 h0:2]",
    );
  });

  it("is broken by two sides that disagree about the number of blocks", () => {
    expectOnly(
      "matching",
      edited(ring(), ["recv k[4:8 h0:2] v[4:8 h0:2]", "recv k[4:8 h0:2]"]),
      "rank 1, op 0 (send): 2 blocks, but op 1 of rank 0 takes 1",
    );
  });

  it.each(["0", "2"])("is broken by rank 0 sending to rank %s, which is itself or nobody", (peer) => {
    expectOnly(
      "matching",
      edited(ring(), ["send k[0:4 h0:2] v[0:4 h0:2] -> 1", `send k[0:4 h0:2] v[0:4 h0:2] -> ${peer}`]),
      `rank 0, op 0 (send), k[0:4 h0:2]: invalid peer: ${peer} (must be another of 2 ranks)`,
    );
  });

  it("is broken by two ranks that both receive before they send", () => {
    const schedule = edited(
      ring(),
      [
        "    send k[0:4 h0:2] v[0:4 h0:2] -> 1\n    recv k[4:8 h0:2] v[4:8 h0:2] <- 1",
        "    recv k[4:8 h0:2] v[4:8 h0:2] <- 1\n  group 1 p2p\n    send k[0:4 h0:2] v[0:4 h0:2] -> 1",
      ],
      [
        "    send k[4:8 h0:2] v[4:8 h0:2] -> 0\n    recv k[0:4 h0:2] v[0:4 h0:2] <- 0",
        "    recv k[0:4 h0:2] v[0:4 h0:2] <- 0\n  group 1 p2p\n    send k[4:8 h0:2] v[4:8 h0:2] -> 0",
      ],
    );
    expectOnly(
      "matching",
      schedule,
      "rank 0, op 0 (recv), k[4:8 h0:2]: deadlock: receives from rank 1, which stands at its op 0, before the other side (op 1)",
    );
    expect(messages(schedule)).toHaveLength(2);
  });

  it("is broken by a group that receives what it sends", () => {
    const both = "send k[4:8 h0:2] v[4:8 h0:2] -> 0";
    const schedule = edited(
      smallRing(smallProblem({ lengths: [8], ranks: 2 })),
      [both, "send k[4:8 h0:2] v[4:8 h0:2] -> 0\n    send k[0:4 h0:2] -> 0"],
      ["recv k[4:8 h0:2] v[4:8 h0:2] <- 1", "recv k[4:8 h0:2] v[4:8 h0:2] <- 1\n    recv k[0:4 h0:2] <- 1"],
    );
    expectOnly(
      "matching",
      schedule,
      "rank 0, op 2 (recv), k[0:4 h0:2]: overlaps k[0:4 h0:2], which the same group moves",
    );
  });

  it("is broken by groups that are not counted in order", () => {
    const schedule = ring();
    const group = schedule.ops.group.map((value) => (value < 0 ? value : value + 1));
    expectOnly(
      "matching",
      { ...schedule, ops: { ...schedule.ops, group } },
      "rank 0, op 0 (send): group 1 (must be 0: groups stand together and in order)",
    );
  });

  it("is broken by programs for another number of ranks", () => {
    const problem = smallProblem({ lengths: [5, 3], ranks: 3 });
    expectOnly("matching", { ...ring(), problem }, "rank 0: 2 programs (the cluster has 3 ranks)");
  });
});

describe("ownership", () => {
  it("is broken by tokens without an owner, and by tokens with two", () => {
    expectOnly(
      "ownership",
      edited(ring(), ["owns 1: 4:8", "owns 1: 5:8"]),
      "rank 1: tokens 4:5 before its range have no owner",
    );
    expectOnly(
      "ownership",
      edited(ring(), ["owns 1: 4:8", "owns 1: 3:8"]),
      "rank 1: tokens 3:4 have another owner too",
    );
    expectOnly(
      "ownership",
      edited(ring(), ["owns 1: 4:8", "owns 1: 4:7"]),
      "rank 1: the layout ends at token 7 (the batch has 8)",
    );
  });

  it("is broken by a partial that is merged twice", () => {
    const merge = "merge o[4:8 h0:2] lse[4:8 h0:2] <- o#1[4:8 h0:2] lse#1[4:8 h0:2]\n";
    expectOnly(
      "ownership",
      parseSchedule(handMade.partial.replace(merge, merge + merge)),
      "rank 1, o[4:8 h0:2]: keys 0:4, from op 3 of rank 0, are added twice",
    );
  });

  it("is broken by a partial that is never merged", () => {
    const merge = "  merge o[4:8 h0:2] lse[4:8 h0:2] <- o#1[4:8 h0:2] lse#1[4:8 h0:2]\n";
    expectOnly(
      "ownership",
      parseSchedule(handMade.partial.replace(merge, "")),
      "rank 1, o[4:8 h0:2]: keys 0:4, from op 3 of rank 0, do not come here",
    );
  });

  it("is broken by a tile computed once more and dropped", () => {
    const line = "  attend causal q[0:4 h0:4] k[0:4 h0:2] v[0:4 h0:2] -> o[0:4 h0:4] lse[0:4 h0:4]\n";
    expectOnly(
      "ownership",
      edited(ring(), [line, line + line.replace("o[", "o#7[").replace("lse[", "lse#7[")]),
      "rank 0, op 3 (attend): some of its o does not come to the owner",
    );
  });

  it("is broken by an output whose log-sum-exp holds other tiles", () => {
    const schedule = edited(ring(), ["-> o[5:8 h0:4] lse[5:8 h0:4]", "-> o[5:8 h0:4] lse#3[5:8 h0:4]"]);
    expectOnly("ownership", schedule, "rank 1, lse[5:8 h0:4]: keys 5:8, from op 3 of rank 1, do not come here");
    const merge = "<- o#1[4:8 h0:2] lse#1[4:8 h0:2]";
    const twice = `${merge.replace("lse#1", "lse#2")}`;
    const text = handMade.partial
      .replaceAll("send o#1[4:8 h0:2] lse#1[4:8 h0:2]", "send o#1[4:8 h0:2] lse#1[4:8 h0:2] lse#2[4:8 h0:2]")
      .replaceAll("recv o#1[4:8 h0:2] lse#1[4:8 h0:2]", "recv o#1[4:8 h0:2] lse#1[4:8 h0:2] lse#2[4:8 h0:2]")
      .replace("    send o#1", "    send o#1")
      .replace(
        "  group 1 p2p\n    send o#1",
        "  attend full q[4:8 h0:2] k[0:2 h0:1] v[0:2 h0:1] -> o#2[4:8 h0:2] lse#2[4:8 h0:2]\n  group 1 p2p\n    send o#1",
      )
      .replace(merge, twice);
    expect(messages(parseSchedule(text))[0]).toBe(
      "ownership: rank 1, op 4 (merge), o#1[4:8 h0:2]: holds other tiles than its log-sum-exp",
    );
  });

  it("is broken by a gradient that stays with the rank that computed it", () => {
    const text = formatSchedule(backward()).replaceAll(/\n {2}reduce.*/g, "");
    const findings = messages(parseSchedule(text));
    expect(findings).toContain("ownership: rank 0, dk[0:4 h0:2]: queries 4:5, from op 4 of rank 1, do not come here");
    expect(findings.every((message) => message.startsWith("ownership"))).toBe(true);
  });

  it("is broken by adding one gradient to another", () => {
    expectOnly(
      "ownership",
      edited(backward(), ["reduce dk[0:4 h0:2] <- dk#2[0:4 h0:2]", "reduce dk[0:4 h0:2] <- dv#2[0:4 h0:2]"]),
      "rank 0, op 4 (reduce), dv#2[0:4 h0:2]: adds one thing to another",
    );
  });

  it("is broken by adding partials that must be merged", () => {
    const merge = "merge o[4:8 h0:2] lse[4:8 h0:2] <- o#1[4:8 h0:2] lse#1[4:8 h0:2]";
    const sums = "reduce o[4:8 h0:2] <- o#1[4:8 h0:2]\n  reduce lse[4:8 h0:2] <- lse#1[4:8 h0:2]";
    expectOnly(
      "ownership",
      parseSchedule(handMade.partial.replace(merge, sums)),
      "rank 1, op 4 (reduce), o#1[4:8 h0:2]: adds what is no gradient",
    );
  });

  it("is broken by products of two softmaxes in one sum", () => {
    const text = handMade.unfused.replace(
      "softmax lse[0:4 h0:2] s[0:4 h0:2] s#1[0:4 h0:2]",
      "softmax lse[0:4 h0:2] s[0:4 h0:2]\n  softmax lse[0:4 h0:2] s#1[0:4 h0:2]",
    );
    expectOnly(
      "ownership",
      parseSchedule(text),
      "rank 0, op 8 (weigh), o[0:4 h0:2]: adds to what another softmax has scaled",
    );
  });
});

describe("memory", () => {
  it("is broken by a rank whose arena is larger than the cap", () => {
    const schedule = smallRing(smallProblem({ lengths: [64], ranks: 4 }));
    const bytes = 16 * 4 * (8 + 8 + 1) * 4 + 2 * 16 * 2 * 8 * 4 + 2 * (2 * 16 * 2 * 8 * 4);
    expect(verify(schedule, { memoryCapBytes: bytes })).toEqual([]);
    const findings = verify(schedule, { memoryCapBytes: bytes - 1 });
    expect(findings.map(({ rule, rank }) => [rule, rank])).toEqual([0, 1, 2, 3].map((rank) => ["memory", rank]));
    expect(findings[0].message).toBe(`memory: rank 0: needs ${bytes} bytes at its peak (the cap is ${bytes - 1})`);
  });
});
