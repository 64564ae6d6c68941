import { opKinds, type Schedule, type Trace } from "@hsap/schedule";
import { EventQueue } from "../event-queue.ts";
import { idle, SharedCores } from "./shared-cores.ts";
import type { ThreadMachine } from "./thread-machine.ts";
import type { ThreadPlan } from "./thread-plan.ts";

const send = opKinds.indexOf("send");
const events = { step: 0, group: 1, mail: 2 } as const;

/**
 * One run of the engine's threads. Each rank's computation thread does its steps, and its communication thread its groups: it
 * posts what is sent, takes what arrives (the receiver copies), and sleeps until others have taken what it sent. A thread that
 * sleeps wakes `wakeUs` after what it waits for; whoever runs takes turns on the cores with all others.
 */
export class ThreadRun {
  readonly stepBeginUs: Float64Array;
  readonly stepEndUs: Float64Array;
  readonly groupBeginUs: Float64Array;
  /** When all that a group receives had been sent. */
  readonly groupMetUs: Float64Array;
  readonly groupEndUs: Float64Array;
  nowUs = 0;
  readonly #cores: SharedCores;
  /** Threads that wake. */
  readonly #queue = new EventQueue();
  readonly #nextStep: Int32Array;
  readonly #nextGroup: Int32Array;
  /** Computation ops of each rank that are done. */
  readonly #done: Int32Array;
  /** What each thread does: computation of rank r is 2r, communication 2r + 1. */
  readonly #sleeps: Uint8Array;
  /** Of each rank's group: what it still has to take, what has arrived of it, what it is taking, and whether it has posted. */
  readonly #untaken: Int32Array;
  readonly #unsent: Int32Array;
  readonly #arrived: number[][];
  readonly #taking: number[][];
  readonly #posted: Uint8Array;
  readonly #isPosted: Uint8Array;

  constructor(
    private readonly schedule: Schedule,
    private readonly plan: ThreadPlan,
    private readonly machine: ThreadMachine,
  ) {
    const { ranks, steps, groups } = plan;
    this.stepBeginUs = new Float64Array(steps.us.length);
    this.stepEndUs = new Float64Array(steps.us.length);
    this.groupBeginUs = new Float64Array(groups.postUs.length);
    this.groupMetUs = new Float64Array(groups.postUs.length);
    this.groupEndUs = new Float64Array(groups.postUs.length);
    this.#cores = new SharedCores(machine.cores, machine.sliceUs);
    this.#nextStep = steps.begin.slice(0, ranks);
    this.#nextGroup = groups.begin.slice(0, ranks);
    this.#done = new Int32Array(ranks);
    this.#sleeps = new Uint8Array(2 * ranks).fill(1);
    this.#untaken = new Int32Array(ranks);
    this.#unsent = new Int32Array(ranks);
    this.#arrived = Array.from({ length: ranks }, () => []);
    this.#taking = Array.from({ length: ranks }, () => []);
    this.#posted = new Uint8Array(ranks);
    this.#isPosted = new Uint8Array(schedule.ops.kind.length);
  }

  toEnd(): void {
    const { ranks } = this.plan;
    for (let rank = 0; rank < ranks; rank++) {
      this.#tryStep(rank);
      this.#tryGroup(rank);
    }
    for (;;) {
      const woken = this.#queue.length > 0 ? this.#queue.nextTime : Number.POSITIVE_INFINITY;
      const ended = this.#cores.nextUs;
      if (woken === Number.POSITIVE_INFINITY && ended === Number.POSITIVE_INFINITY) break;
      this.nowUs = Math.min(woken, ended);
      if (woken <= ended) {
        this.#queue.take();
        this.#wake(this.#queue.kind, this.#queue.subject);
      } else {
        const thread = this.#cores.advance();
        if (thread === idle) continue;
        if (thread % 2 === 0) this.#endStep(thread / 2);
        else this.#endWork((thread - 1) / 2);
      }
    }
    this.#checkEnd();
  }

  trace(): Trace {
    const { schedule, plan } = this;
    const rows = schedule.ops.kind.length;
    const [beginUs, endUs, busyUs] = [new Float64Array(rows), new Float64Array(rows), new Float64Array(rows)];
    for (let step = 0; step < plan.steps.us.length; step++) {
      const stretch = (this.stepEndUs[step] - this.stepBeginUs[step]) / Math.max(1e-12, plan.steps.us[step]);
      let at = this.stepBeginUs[step];
      for (let i = plan.steps.opBegin[step]; i < plan.steps.opBegin[step + 1]; i++) {
        const op = plan.steps.ops[i];
        beginUs[op] = at;
        at += plan.opUs[op] * stretch;
        endUs[op] = at;
        busyUs[op] = plan.opUs[op];
      }
    }
    for (let op = 0; op < rows; op++) {
      const group = plan.groupOf[op];
      if (group < 0) continue;
      beginUs[op] = this.groupBeginUs[group];
      endUs[op] = this.groupEndUs[group];
      busyUs[op] = plan.opUs[op];
    }
    return { origin: "simulated", beginUs, endUs, busyUs, durationUs: this.nowUs };
  }

  /** Lets a sleeping thread run a moment later. */
  #rouse(kind: number, rank: number): void {
    const thread = kind === events.step ? 2 * rank : 2 * rank + 1;
    if (this.#sleeps[thread] === 0) return;
    this.#sleeps[thread] = 0;
    this.#queue.add(this.nowUs + this.machine.wakeUs, kind, rank, 0);
  }

  #wake(kind: number, rank: number): void {
    if (kind === events.step) this.#tryStep(rank);
    else if (kind === events.group) this.#tryGroup(rank);
    else this.#takeOrSleep(rank);
  }

  #mayStep(rank: number): boolean {
    const { steps, groups } = this.plan;
    const step = this.#nextStep[rank];
    return step < steps.begin[rank + 1] && this.#nextGroup[rank] - groups.begin[rank] >= steps.waitFor[step];
  }

  #tryStep(rank: number): void {
    const thread = 2 * rank;
    if (!this.#mayStep(rank)) {
      this.#sleeps[thread] = 1;
      return;
    }
    const step = this.#nextStep[rank];
    this.#sleeps[thread] = 0;
    this.stepBeginUs[step] = this.nowUs;
    this.#cores.start(this.nowUs, this.plan.steps.us[step], thread);
  }

  #endStep(rank: number): void {
    const step = this.#nextStep[rank]++;
    this.stepEndUs[step] = this.nowUs;
    this.#done[rank] = this.plan.steps.finished[step];
    if (this.#mayGroup(rank)) this.#rouse(events.group, rank);
    this.#tryStep(rank);
  }

  #mayGroup(rank: number): boolean {
    const { groups } = this.plan;
    const group = this.#nextGroup[rank];
    return group < groups.begin[rank + 1] && this.#posted[rank] === 0 && this.#done[rank] >= groups.waitFor[group];
  }

  #tryGroup(rank: number): void {
    const thread = 2 * rank + 1;
    if (!this.#mayGroup(rank)) {
      this.#sleeps[thread] = 1;
      return;
    }
    const { groups, partner } = this.plan;
    const group = this.#nextGroup[rank];
    this.#sleeps[thread] = 0;
    this.#posted[rank] = 1;
    this.groupBeginUs[group] = this.groupMetUs[group] = this.nowUs;
    this.#untaken[rank] = this.#unsent[rank] = 0;
    for (let op = groups.opBegin[group]; op < groups.opEnd[group]; op++) {
      if (this.schedule.ops.kind[op] === send) this.#unsent[rank]++;
      else {
        this.#untaken[rank]++;
        if (this.#isPosted[partner[op]] === 1) this.#arrived[rank].push(op);
      }
    }
    this.#taking[rank] = [];
    this.#cores.start(this.nowUs, groups.postUs[group], thread);
  }

  /** A communication thread has posted its group, or taken what it was taking. */
  #endWork(rank: number): void {
    const group = this.#nextGroup[rank];
    const taken = this.#taking[rank];
    if (this.#posted[rank] === 1) this.#post(rank, group);
    for (const op of taken) {
      const source = this.plan.rankOfGroup[this.plan.groupOf[this.plan.partner[op]]];
      if (--this.#unsent[source] === 0 && this.#untaken[source] === 0) this.#rouse(events.mail, source);
    }
    this.#untaken[rank] -= taken.length;
    this.#taking[rank] = [];
    this.#takeOrSleep(rank);
  }

  #post(rank: number, group: number): void {
    const { groups, partner, groupOf, rankOfGroup } = this.plan;
    this.#posted[rank] = 2;
    for (let op = groups.opBegin[group]; op < groups.opEnd[group]; op++) {
      if (this.schedule.ops.kind[op] !== send) continue;
      this.#isPosted[op] = 1;
      const receive = partner[op];
      const receiver = rankOfGroup[groupOf[receive]];
      // What is posted before its receiver comes to it lies in the mailbox.
      if (this.#posted[receiver] === 0 || this.#nextGroup[receiver] !== groupOf[receive]) continue;
      this.#arrived[receiver].push(receive);
      this.groupMetUs[groupOf[receive]] = this.nowUs;
      if (this.#posted[receiver] === 2) this.#rouse(events.mail, receiver);
    }
  }

  #takeOrSleep(rank: number): void {
    const thread = 2 * rank + 1;
    if (this.#arrived[rank].length > 0) {
      this.#taking[rank] = this.#arrived[rank];
      this.#arrived[rank] = [];
      const workUs = this.#taking[rank].reduce((sum, op) => sum + this.plan.opUs[op], 0);
      this.#sleeps[thread] = 0;
      this.#cores.start(this.nowUs, workUs, thread);
      return;
    }
    if (this.#untaken[rank] > 0 || this.#unsent[rank] > 0) {
      this.#sleeps[thread] = 1;
      return;
    }
    this.groupEndUs[this.#nextGroup[rank]++] = this.nowUs;
    this.#posted[rank] = 0;
    if (this.#mayStep(rank)) this.#rouse(events.step, rank);
    this.#tryGroup(rank);
  }

  #checkEnd(): void {
    const { ranks, steps, groups } = this.plan;
    for (let rank = 0; rank < ranks; rank++) {
      if (this.#nextStep[rank] === steps.begin[rank + 1] && this.#nextGroup[rank] === groups.begin[rank + 1]) continue;
      throw new Error(`deadlock: rank ${rank} waits for ever (verify the schedule)`);
    }
  }
}
