/** Takes note of when a flow will end at its present rate. */
export type Foretell = (flow: number, endUs: number, version: number) => void;

/**
 * Flows that share links, max-min fairly: no flow can go faster without slowing one that is no faster. A flow uses each of
 * its links with a weight (bytes on that link for each byte of the flow), so that a collective is one flow over many links.
 *
 * Rates are worked out again only for flows that share links, directly or over others, with one that came or went.
 */
export class FairShare {
  readonly #flowsOf: number[][];
  readonly #links: (readonly number[])[] = [];
  readonly #weights: (readonly number[] | undefined)[] = [];
  readonly #remaining: number[] = [];
  readonly #rate: number[] = [];
  readonly #cap: number[] = [];
  readonly #updatedUs: number[] = [];
  readonly #version: number[] = [];
  readonly #dirty: number[] = [];
  readonly #linkMark: Int32Array;
  readonly #flowMark: number[] = [];
  #mark = 0;
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
  ) {
    const flow = this.#links.length;
    this.#links.push(links);
    this.#weights.push(weights);
    this.#remaining.push(bytes);
    this.#rate.push(0);
    this.#cap.push(cap);
    this.#updatedUs.push(nowUs);
    this.#version.push(0);
    this.#flowMark.push(0);
    links.forEach((link, i) => {
      this.#flowsOf[link].push(flow);
      this.carried[link] += bytes * (weights?.[i] ?? 1);
      this.#dirty.push(link);
    });
    return flow;
  }

  /** Ends a flow if `version` is the one that its present end was foretold with; returns whether it was. */
  end(flow: number, version: number): boolean {
    if (this.#version[flow] !== version) return false;
    for (const link of this.#links[flow]) {
      const flows = this.#flowsOf[link];
      const at = flows.indexOf(flow);
      flows[at] = flows[flows.length - 1];
      flows.pop();
      if (flows.length > 0) this.#dirty.push(link);
    }
    this.#version[flow]++;
    this.#links[flow] = [];
    return true;
  }

  /** Works out the rates of all flows that what happened since the last time can have changed. */
  settle(nowUs: number): void {
    for (const link of this.#dirty) {
      if (this.#flowsOf[link].length > 0) this.#share(nowUs, link);
    }
    this.#dirty.length = 0;
    this.#mark++;
  }

  /** Fills the links that are joined to `seed` by flows: the narrowest first, its flows are fixed, and so on. */
  #share(nowUs: number, seed: number): void {
    const mark = this.#mark + 1;
    if (this.#linkMark[seed] === mark) return;
    const links: number[] = [seed];
    const flows: number[] = [];
    this.#linkMark[seed] = mark;
    for (let i = 0; i < links.length; i++) {
      for (const flow of this.#flowsOf[links[i]]) {
        if (this.#flowMark[flow] === mark) continue;
        this.#flowMark[flow] = mark;
        flows.push(flow);
        for (const link of this.#links[flow]) {
          if (this.#linkMark[link] === mark) continue;
          this.#linkMark[link] = mark;
          links.push(link);
        }
      }
    }
    if (flows.length === 1) this.#goAlone(nowUs, flows[0]);
    else this.#fill(nowUs, links, flows);
  }

  #goAlone(nowUs: number, flow: number): void {
    let rate = this.#cap[flow];
    const links = this.#links[flow];
    const weights = this.#weights[flow];
    for (let i = 0; i < links.length; i++) rate = Math.min(rate, this.capacity[links[i]] / (weights?.[i] ?? 1));
    for (let i = 0; i < links.length; i++)
      this.highest[links[i]] = Math.max(this.highest[links[i]], rate * (weights?.[i] ?? 1));
    this.#setRate(nowUs, flow, rate);
  }

  #fill(nowUs: number, links: readonly number[], flows: readonly number[]): void {
    for (const link of links) {
      this.#left[link] = this.capacity[link];
      this.#weight[link] = 0;
    }
    const rates = new Map<number, number>();
    for (const flow of flows) {
      for (const [i, link] of this.#links[flow].entries()) this.#addWeight(flow, link, i, 1);
    }
    let open = links.filter((link) => this.#weight[link] > 0);
    while (rates.size < flows.length && open.length > 0) {
      let narrowest = open[0];
      for (const link of open) {
        if (this.#left[link] / this.#weight[link] < this.#left[narrowest] / this.#weight[narrowest]) narrowest = link;
      }
      const share = Math.max(0, this.#left[narrowest] / this.#weight[narrowest]);
      // A flow that cannot use its share leaves the rest of it to the others.
      const capped = flows.filter((flow) => this.#cap[flow] < share && !rates.has(flow));
      const rate = capped.reduce((least, flow) => Math.min(least, this.#cap[flow]), share);
      const fixed = capped.length > 0 ? capped.filter((flow) => this.#cap[flow] === rate) : this.#flowsOf[narrowest];
      for (const flow of fixed) {
        if (rates.has(flow)) continue;
        rates.set(flow, rate);
        this.#links[flow].forEach((link, i) => {
          this.#left[link] -= rate * (this.#weights[flow]?.[i] ?? 1);
          this.#addWeight(flow, link, i, -1);
        });
      }
      if (capped.length === 0) this.#weight[narrowest] = 0;
      open = open.filter((link) => this.#weight[link] > 1e-12);
    }
    for (const link of links) this.highest[link] = Math.max(this.highest[link], this.capacity[link] - this.#left[link]);
    for (const flow of flows) this.#setRate(nowUs, flow, rates.get(flow) ?? 0);
  }

  #addWeight(flow: number, link: number, i: number, sign: number): void {
    this.#weight[link] += sign * (this.#weights[flow]?.[i] ?? 1);
  }

  #setRate(nowUs: number, flow: number, rate: number): void {
    const before = this.#rate[flow];
    if (before === rate && before > 0) return;
    this.#remaining[flow] = Math.max(0, this.#remaining[flow] - before * (nowUs - this.#updatedUs[flow]));
    this.#updatedUs[flow] = nowUs;
    this.#rate[flow] = rate;
    this.#version[flow]++;
    this.foretell(flow, nowUs + this.#remaining[flow] / rate, this.#version[flow]);
  }
}
