import { formatSchedule, ScheduleBuilder } from "../src/index.ts";
import { smallProblem } from "./small-ring.ts";

/** A header for two ranks that own four tokens each, with one kv head for two query heads. */
function header({
  lengths,
  pass,
  own = [],
}: {
  lengths: number[];
  pass: "forward" | "backward";
  own?: string[];
}): string {
  const problem = smallProblem({ lengths, ranks: 2, pass, shape: { heads: 2, kvHeads: 1 } });
  const layout = [[{ begin: 0, end: 4 }], [{ begin: 4, end: 8 }]];
  const empty = formatSchedule(new ScheduleBuilder(problem, "handMade", { ranks: 2 }, layout).finish());
  return empty.slice(0, empty.indexOf("rank 0")).replace("owns 0:", [...own, "owns 0:"].join("\n"));
}

const internal = (name: string, heads: number, width: number, accumulates: "yes" | "no") =>
  `tensor ${name} heads=${heads} width=${width} dtype=fp32 role=internal accumulates=${accumulates}`;

/** Right schedules that no small ring shows, in text form; tests break them by replacing text. */
export const handMade = {
  /** Queries of rank 1 travel to the keys of rank 0, and a partial output travels back. */
  partial: `${header({ lengths: [8], pass: "forward" })}rank 0
  group 0 p2p
    recv q[4:8 h0:2] <- 1
  attend causal q[0:2 h0:2] k[0:2 h0:1] v[0:2 h0:1] -> o[0:2 h0:2] lse[0:2 h0:2]
  attend causal q[2:4 h0:2] k[0:4 h0:1] v[0:4 h0:1] -> o[2:4 h0:2] lse[2:4 h0:2]
  attend full q[4:8 h0:2] k[0:4 h0:1] v[0:4 h0:1] -> o#1[4:8 h0:2] lse#1[4:8 h0:2]
  group 1 p2p
    send o#1[4:8 h0:2] lse#1[4:8 h0:2] -> 1
rank 1
  group 0 p2p
    send q[4:8 h0:2] -> 0
  attend causal q[4:8 h0:2] k[4:8 h0:1] v[4:8 h0:1] -> o[4:8 h0:2] lse[4:8 h0:2]
  reduce o#5[4:8 h0:2]
  group 1 p2p
    recv o#1[4:8 h0:2] lse#1[4:8 h0:2] <- 0
  merge o[4:8 h0:2] lse[4:8 h0:2] <- o#1[4:8 h0:2] lse#1[4:8 h0:2]
`,

  /** Rank 0 computes its rows unfused, with a copy of its keys that repeats the heads; a document ends at token 3. */
  unfused: `${header({ lengths: [3, 5], pass: "forward", own: [internal("s", 2, 4, "no"), internal("kx", 2, 8, "no")] })}rank 0
  copy kx[0:4 h0:2] <- k[0:4 h0:1]
  score document q[0:4 h0:2] kx[0:4 h0:2] -> s[0:4 h0:2]
  group 0 p2p
    recv k[4:8 h0:1] v[4:8 h0:1] <- 1
    send k[0:4 h0:1] v[0:4 h0:1] -> 1
  score document q[0:4 h0:2] k[4:8 h0:1] -> s#1[0:4 h0:2]
  softmax lse[0:4 h0:2] s[0:4 h0:2] s#1[0:4 h0:2]
  weigh s[0:4 h0:2] v[0:4 h0:1] -> o[0:4 h0:2]
  weigh s#1[0:4 h0:2] v[4:8 h0:1] -> o[0:4 h0:2]
rank 1
  group 0 p2p
    send k[4:8 h0:1] v[4:8 h0:1] -> 0
    recv k[0:4 h0:1] v[0:4 h0:1] <- 0
  attend causal q[4:8 h0:2] k[3:4 h0:1] v[3:4 h0:1] -> o[4:8 h0:2] lse[4:8 h0:2]
  attend causal q[4:8 h0:2] k[4:8 h0:1] v[4:8 h0:1] -> o[4:8 h0:2] lse[4:8 h0:2]
`,

  /** The backward pass of the same rows: gradients of repeated heads are folded, and those of rank 1's keys return to it. */
  unfusedBackward: `${header({
    lengths: [3, 5],
    pass: "backward",
    own: [internal("s", 2, 4, "no"), internal("kx", 2, 8, "no"), internal("dkx", 2, 8, "yes")],
  })}rank 0
  group 0 p2p
    recv k[4:8 h0:1] v[4:8 h0:1] <- 1
    send k[0:4 h0:1] v[0:4 h0:1] -> 1
  copy kx[0:4 h0:2] <- k[0:4 h0:1]
  score document q[0:4 h0:2] kx[0:4 h0:2] -> s[0:4 h0:2]
  softmax lse[0:4 h0:2] s[0:4 h0:2]
  weigh s[0:4 h0:2] v[0:4 h0:1] do[0:4 h0:2] delta[0:4 h0:2] -> dv[0:4 h0:1]
  unscore s[0:4 h0:2] q[0:4 h0:2] kx[0:4 h0:2] -> dq[0:4 h0:2] dkx[0:4 h0:2]
  reduce dk[0:4 h0:1] <- dkx[0:4 h0:2]
  group 1 p2p
    recv dk#2[3:4 h0:1] dv#2[3:4 h0:1] <- 1
  reduce dk[3:4 h0:1] <- dk#2[3:4 h0:1]
  reduce dv[3:4 h0:1] <- dv#2[3:4 h0:1]
rank 1
  group 0 p2p
    send k[4:8 h0:1] v[4:8 h0:1] -> 0
    recv k[0:4 h0:1] v[0:4 h0:1] <- 0
  attend causal q[4:8 h0:2] k[3:4 h0:1] v[3:4 h0:1] do[4:8 h0:2] lse[4:8 h0:2] delta[4:8 h0:2] -> dq[4:8 h0:2] dk#2[3:4 h0:1] dv#2[3:4 h0:1]
  group 1 p2p
    send dk#2[3:4 h0:1] dv#2[3:4 h0:1] -> 0
  attend causal q[4:8 h0:1] k[4:8 h0:1] v[4:8 h0:1] do[4:8 h0:1] lse[4:8 h0:1] delta[4:8 h0:1] -> dq[4:8 h0:1] dk[4:8 h0:1] dv[4:8 h0:1]
  attend causal q[4:8 h1:2] k[4:8 h0:1] v[4:8 h0:1] do[4:8 h1:2] lse[4:8 h1:2] delta[4:8 h1:2] -> dq[4:8 h1:2] dk[4:8 h0:1] dv[4:8 h0:1]
`,
} as const;
