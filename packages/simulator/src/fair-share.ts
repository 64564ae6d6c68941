/** Takes note of when a flow will end at its present rate. */
export type Foretell = (flow: number, endUs: number, version: number) => void;

/** Shares that differ by no more than rounding are taken as equal. */
const rounding = 1 + 1e-12;

/**
 * Flows that share links, max-min fairly: no flow can go faster without slowing one that is no faster. A flow uses each of
 * its links with a weight (bytes on that link for each byte of the flow), so that a collective is one flow over many links.
 *
 * Rates are worked out again only for flows that share links, directly or over others, with one that came or went. The number
 * of a flow that has ended is given to a later one, so that memory grows with the flows at one time only.
 */
export class FairShare {
  readonly #flowsOf: number[][];
  readonly #links: (readonly number[])[] = [];
  readonly #weights: (readonly number[] | undefined)[] = [];
  #state = new FlowState(256);
  readonly #free: number[] = [];
  #dirty: number[] = [];
  readonly #linkMark: Int32Array;
  #mark = 0;
  /** The links and flows that are being worked out. */
  readonly #joinedLinks: number[] = [];
  readonly #joinedFlows: number[] = [];
  /** Bytes that each link has carried. */
  readonly carried: Float64Array;
  /** Highest rate that each link has ever been used with, bytes a microsecond. */
  readonly highest: Float64Array;
  readonly #left: Float64Array;
  readonly #weight: Float64Array;

  constructor(
    private readonly capacity: Float64Array,
    private readonly foretell: Foretell,
  ) {
    this.#flowsOf = Array.from(capacity, () => []);
    this.#linkMark = new Int32Array(capacity.length);
    this.carried = new Float64Array(capacity.length);
    this.highest = new Float64Array(capacity.length);
    this.#left = new Float64Array(capacity.length);
    this.#weight = new Float64Array(capacity.length);
  }

  /**
   * Starts a flow of `bytes`, never faster than `cap` bytes a microsecond; all weights are 1 where left out. Its end is foretold
   * by the next `settle`.
   */
  start(
    nowUs: number,
    bytes: number,
    links: readonly number[],
    weights?: readonly number[],
    cap = Number.POSITIVE_INFINITY,
  ): number {
    const flow = this.#free.pop() ?? this.#links.length;
    if (flow === this.#state.size) this.#state = this.#state.twice();
    this.#links[flow] = links;
    this.#weights[flow] = weights;
    const { remaining, rate, cap: caps, updatedUs } = this.#state;
    remaining[flow] = bytes;
    rate[flow] = 0;
    caps[flow] = cap;
    updatedUs[flow] = nowUs;
    for (let i = 0; i < links.length; i++) {
      const link = links[i];
      this.#flowsOf[link].push(flow);
      this.carried[link] += weights === undefined ? bytes : bytes * weights[i];
      this.#dirty.push(link);
    }
    return flow;
  }

  /** Ends a flow if `version` is the one that its present end was foretold with; returns whether it was. */
  end(flow: number, version: number): boolean {
    if (this.#state.version[flow] !== version) return false;
    for (const link of this.#links[flow]) {
      const flows = this.#flowsOf[link];
      const at = flows.indexOf(flow);
      flows[at] = flows[flows.length - 1];
      flows.pop();
      if (flows.length > 0) this.#dirty.push(link);
    }
    // What was foretold of this flow must not be taken for a later one of the same number.
    this.#state.version[flow]++;
    this.#links[flow] = [];
    this.#free.push(flow);
    return true;
  }

  /** Works out the rates of all flows that what happened since the last time can have changed. */
  settle(nowUs: number): void {
    if (this.#dirty.length === 0) return;
    this.#mark++;
    for (const link of this.#dirty) {
      if (this.#linkMark[link] !== this.#mark && this.#flowsOf[link].length > 0) this.#share(nowUs, link);
    }
    this.#dirty = [];
  }

  /** Works out the flows that are joined to `seed` by links. */
  #share(nowUs: number, seed: number): void {
    const mark = this.#mark;
    const { mark: flowMark } = this.#state;
    const links = this.#joinedLinks;
    const flows = this.#joinedFlows;
    links.length = 0;
    flows.length = 0;
    links.push(seed);
    this.#linkMark[seed] = mark;
    for (let i = 0; i < links.length; i++) {
      for (const flow of this.#flowsOf[links[i]]) {
        if (flowMark[flow] === mark) continue;
        flowMark[flow] = mark;
        flows.push(flow);
        for (const link of this.#links[flow]) {
          if (this.#linkMark[link] === mark) continue;
          this.#linkMark[link] = mark;
          links.push(link);
        }
      }
    }
    if (flows.length === 1) this.#goAlone(nowUs, flows[0]);
    else this.#fill(nowUs);
  }

  #goAlone(nowUs: number, flow: number): void {
    let rate = this.#state.cap[flow];
    const links = this.#links[flow];
    const weights = this.#weights[flow];
    for (let i = 0; i < links.length; i++) rate = Math.min(rate, this.capacity[links[i]] / (weights?.[i] ?? 1));
    for (let i = 0; i < links.length; i++)
      this.highest[links[i]] = Math.max(this.highest[links[i]], rate * (weights?.[i] ?? 1));
    this.#setRate(nowUs, flow, rate);
  }

  /** Fills the joined links: the narrowest first, its flows are fixed, and so on. */
  #fill(nowUs: number): void {
    const links = this.#joinedLinks;
    const flows = this.#joinedFlows;
    const { cap, fixed } = this.#state;
    for (const link of links) {
      this.#left[link] = this.capacity[link];
      this.#weight[link] = 0;
    }
    for (const flow of flows) {
      fixed[flow] = -1;
      this.#takeAway(flow, 0, -1);
    }
    for (let open = flows.length; open > 0; ) {
      const share = this.#narrowestShare();
      if (share === Number.POSITIVE_INFINITY) break;
      const before = open;
      // A flow that cannot use its share leaves the rest of it to the others.
      for (const flow of flows) if (fixed[flow] < 0 && cap[flow] < share) open -= this.#fix(flow, cap[flow]);
      if (open < before) continue;
      for (const link of links) {
        const weight = this.#weight[link];
        if (weight <= 1e-12 || this.#left[link] > share * weight * rounding) continue;
        for (const flow of this.#flowsOf[link]) if (fixed[flow] < 0) open -= this.#fix(flow, share);
        this.#weight[link] = 0;
      }
    }
    for (const link of links) this.highest[link] = Math.max(this.highest[link], this.capacity[link] - this.#left[link]);
    for (const flow of flows) this.#setRate(nowUs, flow, Math.max(0, fixed[flow]));
  }

  #narrowestShare(): number {
    let share = Number.POSITIVE_INFINITY;
    for (const link of this.#joinedLinks) {
      const weight = this.#weight[link];
      if (weight > 1e-12 && this.#left[link] < share * weight) share = this.#left[link] / weight;
    }
    return Math.max(0, share);
  }

  #fix(flow: number, rate: number): 1 {
    this.#state.fixed[flow] = rate;
    this.#takeAway(flow, rate, 1);
    return 1;
  }

  /** Takes a flow's rate from what its links have left, and `sign` times its weights from those that are still open. */
  #takeAway(flow: number, rate: number, sign: number): void {
    const links = this.#links[flow];
    const weights = this.#weights[flow];
    for (let i = 0; i < links.length; i++) {
      const weight = weights === undefined ? 1 : weights[i];
      this.#left[links[i]] -= rate * weight;
      this.#weight[links[i]] -= sign * weight;
    }
  }

  #setRate(nowUs: number, flow: number, rate: number): void {
    const { remaining, rate: rates, updatedUs, version } = this.#state;
    const before = rates[flow];
    if (before === rate && before > 0) return;
    remaining[flow] = Math.max(0, remaining[flow] - before * (nowUs - updatedUs[flow]));
    updatedUs[flow] = nowUs;
    rates[flow] = rate;
    version[flow]++;
    this.foretell(flow, nowUs + remaining[flow] / rate, version[flow]);
  }
}

/** What is known of each flow, by its number. */
class FlowState {
  readonly remaining: Float64Array;
  readonly rate: Float64Array;
  readonly cap: Float64Array;
  readonly updatedUs: Float64Array;
  /** The rate found for a flow while rates are worked out; -1 before. */
  readonly fixed: Float64Array;
  readonly version: Int32Array;
  readonly mark: Int32Array;

  constructor(readonly size: number) {
    this.remaining = new Float64Array(size);
    this.rate = new Float64Array(size);
    this.cap = new Float64Array(size);
    this.updatedUs = new Float64Array(size);
    this.fixed = new Float64Array(size);
    this.version = new Int32Array(size);
    this.mark = new Int32Array(size);
  }

  /** The same with room for twice as many flows. */
  twice(): FlowState {
    const larger = new FlowState(2 * this.size);
    for (const name of ["remaining", "rate", "cap", "updatedUs", "fixed", "version", "mark"] as const)
      (larger[name] as Float64Array).set(this[name] as Float64Array);
    return larger;
  }
}
