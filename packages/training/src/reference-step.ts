import { type ModelShape, type WeightName, weightShape } from "@hsap/model";
import { normEpsilon, rotaryBase } from "@hsap/schedule";
import type { PackedBatch } from "@hsap/workload";
import { nextTokens } from "./labels.ts";
import { type ModelTensors, weightKey } from "./parameters.ts";

/** A matrix in rows, float64. */
interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly values: Float64Array;
}

export interface ReferenceStep {
  readonly loss: number;
  /** In the layout of the weights, [column group][row][column]. */
  readonly gradients: ReadonlyMap<string, Float64Array>;
}

/**
 * One training step on one rank in float64, by the textbook: no blocks, no tiles, every score in memory. It shares no code with the
 * schedules or the engine, and takes time with the square of a document's length: for small models only.
 *
 * @throws InputError as `nextTokens` does.
 */
export function referenceStep(
  model: ModelShape,
  parameters: ModelTensors,
  ids: Int32Array,
  batch: PackedBatch,
): ReferenceStep {
  const step = new Reference(model, parameters, ids, batch);
  return step.run();
}

/** What the backward pass of a layer needs of its forward pass. */
interface LayerTrace {
  readonly x: Matrix;
  readonly n1: Matrix;
  readonly q: Matrix;
  readonly k: Matrix;
  readonly v: Matrix;
  readonly o: Matrix;
  readonly h: Matrix;
  readonly n2: Matrix;
  readonly gate: Matrix;
  readonly up: Matrix;
}

class Reference {
  readonly #gradients = new Map<string, Float64Array>();
  /** Position of each token in its document. */
  readonly #positions: number[] = [];

  constructor(
    private readonly model: ModelShape,
    private readonly parameters: ModelTensors,
    private readonly ids: Int32Array,
    private readonly batch: PackedBatch,
  ) {
    for (const [key, { length }] of parameters) this.#gradients.set(key, new Float64Array(length));
    for (let document = 1; document < batch.cuSeqlens.length; document++)
      for (let i = 0; i < batch.cuSeqlens[document] - batch.cuSeqlens[document - 1]; i++) this.#positions.push(i);
  }

  run(): ReferenceStep {
    const { model } = this;
    const traces: LayerTrace[] = [];
    let x = this.#embed();
    for (let layer = 0; layer < model.layers; layer++) {
      const { y, trace } = this.#layer(x, layer);
      traces.push(trace);
      x = y;
    }
    const { loss, dx } = this.#loss(x);
    let dy = dx;
    for (let layer = model.layers - 1; layer >= 0; layer--) dy = this.#layerGradient(traces[layer], dy, layer);
    this.#embedGradient(dy);
    return { loss, gradients: this.#gradients };
  }

  #embed(): Matrix {
    const e = this.#weight("e");
    const x = zeros(this.ids.length, this.model.hidden);
    this.ids.forEach((id, token) => {
      x.values.set(rowOf(e, id), token * x.columns);
    });
    return x;
  }

  #embedGradient(dx: Matrix): void {
    const de = zeros(this.model.vocabulary, this.model.hidden);
    this.ids.forEach((id, token) => {
      const row = rowOf(dx, token);
      for (let i = 0; i < row.length; i++) de.values[id * de.columns + i] += row[i];
    });
    this.#give("e", undefined, de);
  }

  #layer(x: Matrix, layer: number): { y: Matrix; trace: LayerTrace } {
    const weight = (name: WeightName) => this.#weight(name, layer);
    const n1 = norm(x, weight("g1"));
    const q = this.#turn(product(n1, weight("wq")), 1);
    const k = this.#turn(product(n1, weight("wk")), 1);
    const v = product(n1, weight("wv"));
    const o = this.#attend(q, k, v);
    const h = sum(x, product(o, weight("wo")));
    const n2 = norm(h, weight("g2"));
    const gate = product(n2, weight("wg"));
    const up = product(n2, weight("wu"));
    const y = sum(h, product(activated(gate, up), weight("wd")));
    return { y, trace: { x, n1, q, k, v, o, h, n2, gate, up } };
  }

  #layerGradient({ x, n1, q, k, v, o, h, n2, gate, up }: LayerTrace, dy: Matrix, layer: number): Matrix {
    const weight = (name: WeightName) => this.#weight(name, layer);
    const give = (name: WeightName, gradient: Matrix) => this.#give(name, layer, gradient);
    const dm = product(dy, transposed(weight("wd")));
    give("wd", product(transposed(activated(gate, up)), dy));
    const [dgate, dup] = activationGradient(gate, up, dm);
    give("wg", product(transposed(n2), dgate));
    give("wu", product(transposed(n2), dup));
    const dn2 = sum(product(dgate, transposed(weight("wg"))), product(dup, transposed(weight("wu"))));
    const second = normGradient(h, weight("g2"), dn2);
    give("g2", second.dg);
    const dh = sum(dy, second.dx);
    give("wo", product(transposed(o), dh));
    const { dq, dk, dv } = this.#attendGradient(q, k, v, o, product(dh, transposed(weight("wo"))));
    const [dq0, dk0] = [this.#turn(dq, -1), this.#turn(dk, -1)];
    give("wq", product(transposed(n1), dq0));
    give("wk", product(transposed(n1), dk0));
    give("wv", product(transposed(n1), dv));
    const dn1 = sum(
      sum(product(dq0, transposed(weight("wq"))), product(dk0, transposed(weight("wk")))),
      product(dv, transposed(weight("wv"))),
    );
    const first = normGradient(x, weight("g1"), dn1);
    give("g1", first.dg);
    return sum(dh, first.dx);
  }

  #loss(x: Matrix): { loss: number; dx: Matrix } {
    const [gain, head] = [this.#weight("gf"), this.#weight("head")];
    const n = norm(x, gain);
    const logits = product(n, head);
    const labels = nextTokens(this.ids, this.batch);
    const dlogits = zeros(logits.rows, logits.columns);
    let loss = 0;
    for (let token = 0; token < logits.rows; token++) {
      const weight = labels.weights[token];
      if (weight === 0) continue;
      const row = rowOf(logits, token);
      const largest = row.reduce((a, b) => Math.max(a, b));
      const total = row.reduce((all, value) => all + Math.exp(value - largest), 0);
      loss += weight * (Math.log(total) + largest - row[labels.ids[token]]);
      row.forEach((value, i) => {
        const expected = i === labels.ids[token] ? 1 : 0;
        dlogits.values[token * dlogits.columns + i] = weight * (Math.exp(value - largest) / total - expected);
      });
    }
    this.#give("head", undefined, product(transposed(n), dlogits));
    const { dx, dg } = normGradient(x, gain, product(dlogits, transposed(head)));
    this.#give("gf", undefined, dg);
    return { loss, dx };
  }

  /** Turns every pair (i, i + headDim / 2) of every head by its position's angle, or back. */
  #turn(x: Matrix, direction: number): Matrix {
    const { headDim } = this.model;
    const half = headDim / 2;
    const turned = zeros(x.rows, x.columns);
    for (let token = 0; token < x.rows; token++) {
      for (let column = 0; column < x.columns; column++) {
        const i = column % headDim;
        if (i >= half) continue;
        const angle = this.#positions[token] * rotaryBase ** ((-2 * i) / headDim);
        const [cosine, sine] = [Math.cos(angle), direction * Math.sin(angle)];
        const at = token * x.columns + column;
        const [a, b] = [x.values[at], x.values[at + half]];
        turned.values[at] = a * cosine - b * sine;
        turned.values[at + half] = b * cosine + a * sine;
      }
    }
    return turned;
  }

  #attend(q: Matrix, k: Matrix, v: Matrix): Matrix {
    const o = zeros(q.rows, q.columns);
    this.#eachRow(q, k, (at, keys, probabilities) => {
      probabilities.forEach((p, i) => {
        for (let c = 0; c < this.model.headDim; c++) o.values[at + c] += p * v.values[keys[i] + c];
      });
    });
    return o;
  }

  #attendGradient(q: Matrix, k: Matrix, v: Matrix, o: Matrix, dO: Matrix) {
    const { headDim } = this.model;
    const scale = 1 / Math.sqrt(headDim);
    const [dq, dk, dv] = [zeros(q.rows, q.columns), zeros(k.rows, k.columns), zeros(v.rows, v.columns)];
    this.#eachRow(q, k, (at, keys, probabilities) => {
      const delta = dotAt(dO, at, o, at, headDim);
      probabilities.forEach((p, i) => {
        const ds = p * (dotAt(dO, at, v, keys[i], headDim) - delta) * scale;
        for (let c = 0; c < headDim; c++) {
          dv.values[keys[i] + c] += p * dO.values[at + c];
          dq.values[at + c] += ds * k.values[keys[i] + c];
          dk.values[keys[i] + c] += ds * q.values[at + c];
        }
      });
    });
    return { dq, dk, dv };
  }

  /** Calls `visit` with where each query row begins, where the key rows that it sees begin, and its probabilities. */
  #eachRow(q: Matrix, k: Matrix, visit: (at: number, keys: number[], probabilities: number[]) => void): void {
    const { heads, kvHeads, headDim } = this.model;
    for (let token = 0; token < q.rows; token++) {
      for (let head = 0; head < heads; head++) {
        const at = token * q.columns + head * headDim;
        const kvHead = Math.floor((head * kvHeads) / heads);
        const keys: number[] = [];
        for (let key = token - this.#positions[token]; key <= token; key++)
          keys.push(key * k.columns + kvHead * headDim);
        const scores = keys.map((key) => dotAt(q, at, k, key, headDim) / Math.sqrt(headDim));
        const largest = Math.max(...scores);
        const total = scores.reduce((all, score) => all + Math.exp(score - largest), 0);
        visit(
          at,
          keys,
          scores.map((score) => Math.exp(score - largest) / total),
        );
      }
    }
  }

  /** A weight with its column groups side by side. */
  #weight(weight: WeightName, layer?: number): Matrix {
    const { rows, heads, width } = weightShape({ model: this.model }, weight);
    const from = this.parameters.get(weightKey(weight, layer)) as Float32Array;
    const made = zeros(rows, heads * width);
    for (let head = 0; head < heads; head++)
      for (let row = 0; row < rows; row++)
        for (let c = 0; c < width; c++)
          made.values[row * heads * width + head * width + c] = from[(head * rows + row) * width + c];
    return made;
  }

  #give(weight: WeightName, layer: number | undefined, gradient: Matrix): void {
    const { rows, heads, width } = weightShape({ model: this.model }, weight);
    const to = this.#gradients.get(weightKey(weight, layer)) as Float64Array;
    for (let head = 0; head < heads; head++)
      for (let row = 0; row < rows; row++)
        for (let c = 0; c < width; c++)
          to[(head * rows + row) * width + c] = gradient.values[row * heads * width + head * width + c];
  }
}

const zeros = (rows: number, columns: number): Matrix => ({ rows, columns, values: new Float64Array(rows * columns) });

const rowOf = ({ values, columns }: Matrix, row: number): Float64Array =>
  values.subarray(row * columns, (row + 1) * columns);

function product(a: Matrix, b: Matrix): Matrix {
  const c = zeros(a.rows, b.columns);
  for (let i = 0; i < a.rows; i++) {
    for (let l = 0; l < a.columns; l++) {
      const left = a.values[i * a.columns + l];
      for (let j = 0; j < b.columns; j++) c.values[i * b.columns + j] += left * b.values[l * b.columns + j];
    }
  }
  return c;
}

function transposed(a: Matrix): Matrix {
  const b = zeros(a.columns, a.rows);
  for (let i = 0; i < a.rows; i++)
    for (let j = 0; j < a.columns; j++) b.values[j * a.rows + i] = a.values[i * a.columns + j];
  return b;
}

const sum = (a: Matrix, b: Matrix): Matrix => ({ ...a, values: a.values.map((value, i) => value + b.values[i]) });

function dotAt(a: Matrix, atA: number, b: Matrix, atB: number, count: number): number {
  let total = 0;
  for (let i = 0; i < count; i++) total += a.values[atA + i] * b.values[atB + i];
  return total;
}

const inverseRoot = (x: Matrix, row: number): number =>
  1 / Math.sqrt(rowOf(x, row).reduce((all, value) => all + value * value, 0) / x.columns + normEpsilon);

function norm(x: Matrix, gain: Matrix): Matrix {
  const n = zeros(x.rows, x.columns);
  for (let row = 0; row < x.rows; row++) {
    const r = inverseRoot(x, row);
    for (let i = 0; i < x.columns; i++)
      n.values[row * x.columns + i] = x.values[row * x.columns + i] * r * gain.values[i];
  }
  return n;
}

function normGradient(x: Matrix, gain: Matrix, dn: Matrix): { dx: Matrix; dg: Matrix } {
  const [dx, dg] = [zeros(x.rows, x.columns), zeros(x.columns, 1)];
  for (let row = 0; row < x.rows; row++) {
    const r = inverseRoot(x, row);
    const [values, from] = [rowOf(x, row), rowOf(dn, row)];
    const mean = from.reduce((all, d, i) => all + d * gain.values[i] * values[i] * r, 0) / x.columns;
    for (let i = 0; i < x.columns; i++) {
      dx.values[row * x.columns + i] = r * (from[i] * gain.values[i] - values[i] * r * mean);
      dg.values[i] += from[i] * values[i] * r;
    }
  }
  return { dx, dg };
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

const activated = (gate: Matrix, up: Matrix): Matrix => ({
  ...gate,
  values: gate.values.map((x, i) => x * sigmoid(x) * up.values[i]),
});

function activationGradient(gate: Matrix, up: Matrix, dm: Matrix): [dgate: Matrix, dup: Matrix] {
  const slope = (x: number) => sigmoid(x) * (1 + x * (1 - sigmoid(x)));
  return [
    { ...gate, values: gate.values.map((x, i) => dm.values[i] * up.values[i] * slope(x)) },
    { ...gate, values: gate.values.map((x, i) => dm.values[i] * x * sigmoid(x)) },
  ];
}
