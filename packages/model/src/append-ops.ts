import type { GroupKind, Op, ProgramBuilder, Transfer } from "@hsap/schedule";

/** Appends ops of another program, as they are: sends and receives of one group stay one. */
export function appendOps(program: ProgramBuilder, ops: Iterable<Op>): void {
  let group = -1;
  let kind: GroupKind = "p2p";
  let transfers: Transfer[] = [];
  const close = () => {
    program.exchange(kind, transfers);
    transfers = [];
  };
  for (const op of ops) {
    const { blocks } = op;
    if (op.kind !== "send" && op.kind !== "recv") {
      close();
      program.compute(op.kind, blocks, "mask" in op ? op.mask : "full");
      continue;
    }
    if (op.group !== group) close();
    [group, kind] = [op.group, op.groupKind];
    transfers.push(op.kind === "send" ? { to: op.peer, blocks } : { from: op.peer, blocks });
  }
  close();
}
