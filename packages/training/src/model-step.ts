import { type Isa, type NamedTensors, runStage, type StageOptions, type ThreadOptions } from "@hsap/engine";
import {
  endWeights,
  gradientOf,
  layerWeights,
  type ModelProblem,
  masterOf,
  recomputationOf,
  type StageName,
  type StepSchedules,
  shardOf,
  stageNames,
  tokenOrder,
  type UpdateStageName,
  updateStageNames,
  type WeightName,
} from "@hsap/model";
import { type LoweredSchedule, lower, rowsOf, type Schedule } from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import { nextTokens } from "./labels.ts";
import { elementsOf, type ModelTensors, weightKey, weightsOf, zerosLike } from "./parameters.ts";

export type StepOptions = Pick<StageOptions, "isa" | "signal"> & ThreadOptions;

export interface StepResult {
  /** Mean over all tokens that have a successor in their document, in nats. */
  readonly loss: number;
  readonly gradients: ModelTensors;
  /** Milliseconds of all runs of each stage, measured. */
  readonly stageMs: Readonly<Record<AnyStage, number>>;
  /** The largest arena of each rank over all stages, as the schedules count them. */
  readonly arenaBytes: Float64Array;
  /** The same as the system saw it: the most that was touched of each rank's arena in any stage that ran, measured. */
  readonly residentBytes: Float64Array;
  /** The instruction set of the kernels. */
  readonly isa: Isa;
}

type Saved = Record<string, Float32Array>;
type AnyStage = StageName | UpdateStageName;

/** A training step of a model on one batch, forward and backward, by the schedules of a strategy; made once, run often. */
export class ModelStep {
  readonly #lowered: Readonly<Record<AnyStage, LoweredSchedule>>;
  readonly #stageMs: Record<AnyStage, number>;
  #residentBytes: Float64Array = new Float64Array(0);
  #isa: Isa = "scalar";

  constructor(
    private readonly problem: ModelProblem,
    private readonly schedules: StepSchedules,
    private readonly options: StepOptions = {},
  ) {
    this.#lowered = byStage((stage) => lower(schedules[stage]));
    this.#stageMs = byStage(() => 0);
  }

  /**
   * Loss and gradients for token ids, one for each token of the batch.
   *
   * @throws InputError if an id is not below the model's vocabulary, and as `nextTokens` does.
   */
  async run(parameters: ModelTensors, ids: Int32Array): Promise<StepResult> {
    const { model } = this.problem;
    const wrong = ids.findIndex((id) => id < 0 || id >= model.vocabulary);
    if (wrong >= 0)
      throw new InputError(`invalid id: ${ids[wrong]} at token ${wrong} (must be below ${model.vocabulary})`);
    for (const stage of stepStages) this.#stageMs[stage] = 0;
    this.#residentBytes = this.#arenaBytes().fill(0);
    const gradients = new Map(
      weightsOf(model).map(({ key, weight }) => [key, new Float32Array(elementsOf(model, weight))]),
    );
    const {
      loss: {
        problem: { batch },
      },
    } = this.schedules;
    // Data-parallel groups have their documents side by side.
    const ordered = Int32Array.from(tokenOrder(this.problem.batch, batch), (token) => ids[token]);
    const tokens = Float32Array.from(ordered);
    const { states, saved } = await this.#forward(parameters, tokens);
    const { loss, dx } = await this.#loss(parameters, states, ordered, gradients);
    await this.#backward(parameters, gradients, { tokens, states, saved, dx });
    return {
      loss,
      gradients,
      stageMs: { ...this.#stageMs },
      arenaBytes: this.#arenaBytes(),
      residentBytes: this.#residentBytes,
      isa: this.#isa,
    };
  }

  /** Rounds weights that the optimiser has updated to the dtype in which they are stored, brings them to where they lie, and says how long that took. */
  async spread(
    updated: ModelTensors,
  ): Promise<{ weights: ModelTensors } & Pick<StepResult, "stageMs" | "residentBytes">> {
    const weights = zerosLike(updated);
    for (const stage of updateStageNames) this.#stageMs[stage] = 0;
    this.#residentBytes = this.#arenaBytes().fill(0);
    for (let layer = 0; layer < this.problem.model.layers; layer++)
      await this.#run("layerUpdate", { ...layerTensors(weights, layer), ...masters(layerTensors(updated, layer)) });
    await this.#run("endUpdate", { ...endTensors(weights, endWeights), ...masters(endTensors(updated, endWeights)) });
    return { weights, stageMs: { ...this.#stageMs }, residentBytes: this.#residentBytes };
  }

  async #forward(parameters: ModelTensors, ids: Float32Array) {
    const states = [this.#make("embedding", "x")];
    const { layerGather } = this.schedules;
    if (layerGather !== undefined)
      await this.#runSchedule(layerGather, "layerForward", this.#next(parameters, 0), lower(layerGather));
    await this.#run("embedding", { ids, e: weight(parameters, "e"), x: states[0] });
    const saved: Saved[] = [];
    for (let layer = 0; layer < this.problem.model.layers; layer++) {
      const y = this.#make("layerForward", "y");
      const kept = this.#makeSaved();
      const weights = { ...layerTensors(parameters, layer), ...this.#next(parameters, layer + 1) };
      await this.#run("layerForward", { x: states[layer], y, ...kept, ...weights });
      states.push(y);
      if (recomputationOf(this.problem) !== "full") saved.push(kept);
    }
    return { states, saved };
  }

  async #loss(parameters: ModelTensors, states: Float32Array[], ids: Int32Array, gradients: ModelTensors) {
    const { ids: next, weights } = nextTokens(ids, this.schedules.loss.problem.batch);
    const labels = new Float32Array(2 * ids.length);
    for (let token = 0; token < ids.length; token++) {
      labels[2 * token] = next[token];
      labels[2 * token + 1] = weights[token];
    }
    const [loss, dx] = [this.#make("loss", "loss"), this.#make("loss", "dx")];
    const groups = this.schedules.loss.tensors.find(({ name }) => name === "head")?.heads ?? 1;
    const dhead = this.#make("loss", "dhead");
    await this.#run("loss", {
      ...{ x: states[states.length - 1], labels, loss, dx, dhead },
      ...endTensors(parameters, ["gf"]),
      head: inColumnGroups(weight(parameters, "head"), groups, this.problem.model.hidden),
      ...gradientTensors(gradients, ["gf"]),
    });
    // Transposing column groups and rows is undone by the other way round.
    weight(gradients, "head").set(inColumnGroups(dhead, this.problem.model.hidden, groups));
    return { loss: loss.reduce((sum, value) => sum + value, 0), dx };
  }

  async #backward(
    parameters: ModelTensors,
    gradients: ModelTensors,
    given: { tokens: Float32Array; states: Float32Array[]; saved: Saved[]; dx: Float32Array },
  ): Promise<void> {
    let dy = given.dx;
    for (let layer = this.problem.model.layers - 1; layer >= 0; layer--) {
      const weights = { ...layerTensors(parameters, layer), ...this.#next(parameters, layer - 1) };
      const x = given.states[layer];
      const kept = given.saved[layer] ?? (await this.#recomputed(x, weights));
      const dx = this.#make("layerBackward", "dx");
      const own = gradientTensors(gradients, layerWeights, layer);
      await this.#run("layerBackward", { x, dy, dx, ...kept, ...weights, ...own });
      dy = dx;
    }
    await this.#run("embeddingBackward", { ids: given.tokens, dx: dy, ...gradientTensors(gradients, ["e"]) });
  }

  async #recomputed(x: Float32Array, weights: NamedTensors): Promise<Saved> {
    const kept = this.#makeSaved();
    await this.#run("layerForward", { x, ...kept, ...weights });
    return kept;
  }

  /**
   * The weights of the layer that comes next, where they are fetched ahead; at either end of the model the last one's, which the backward
   * pass begins with, and the first one's, in vain.
   */
  #next(parameters: ModelTensors, layer: number): NamedTensors {
    if (this.schedules.layerGather === undefined) return {};
    const within = Math.min(Math.max(layer, 0), this.problem.model.layers - 1);
    const weights = Object.entries(layerTensors(parameters, within));
    return Object.fromEntries(weights.map(([name, values]) => [shardOf(name), values]));
  }

  #run(stage: AnyStage, tensors: NamedTensors): Promise<void> {
    return this.#runSchedule(this.schedules[stage], stage, tensors, this.#lowered[stage]);
  }

  /** Its time counts as that of `stage`. */
  async #runSchedule(
    schedule: Schedule,
    stage: AnyStage,
    tensors: NamedTensors,
    lowered: LoweredSchedule,
  ): Promise<void> {
    const { isa, signal, threadsPerRank, maxThreads, pin } = this.options;
    const threads = {
      ...(threadsPerRank && { threadsPerRank }),
      ...(maxThreads && { maxThreads }),
      ...(pin && { pin }),
    };
    const options = { ...(isa && { isa }), ...(signal && { signal }), ...threads, lowered };
    const { trace, residentBytes, isa: used } = await runStage(schedule, tensors, options);
    this.#isa = used;
    this.#residentBytes = this.#residentBytes.map((most, rank) => Math.max(most, residentBytes[rank]));
    this.#stageMs[stage] += trace.durationUs / 1000;
  }

  #makeSaved(): Saved {
    const saved = this.schedules.layerForward.tensors.filter(
      ({ name, role, rows }) => role === "output" && rows === undefined && name !== "y",
    );
    return Object.fromEntries(saved.map(({ name }) => [name, this.#make("layerForward", name)]));
  }

  #make(stage: StageName, name: string): Float32Array {
    const schedule = this.schedules[stage];
    const spec = schedule.tensors.find((tensor) => tensor.name === name);
    if (spec === undefined) throw new Error(`unknown tensor: ${name} of ${stage}`);
    return new Float32Array(spec.heads * spec.width * rowsOf(spec, schedule.problem));
  }

  #arenaBytes(): Float64Array {
    const arenas = stepStages.map((stage) => this.#lowered[stage].rank.arenaBytes);
    return arenas[0].map((_, rank) => Math.max(...arenas.map((bytes) => bytes[rank])));
  }
}

const stepStages: readonly AnyStage[] = [...stageNames, ...updateStageNames];

function byStage<T>(make: (stage: AnyStage) => T): Record<AnyStage, T> {
  return Object.fromEntries(stepStages.map((stage) => [stage, make(stage)])) as Record<AnyStage, T>;
}

function weight(tensors: ModelTensors, key: string): Float32Array {
  const found = tensors.get(key);
  if (found === undefined) throw new InputError(`missing weight: ${key}`);
  return found;
}

const layerTensors = (tensors: ModelTensors, layer: number): NamedTensors =>
  Object.fromEntries(layerWeights.map((name) => [name, weight(tensors, weightKey(name, layer))]));

const endTensors = (tensors: ModelTensors, names: readonly WeightName[]): NamedTensors =>
  Object.fromEntries(names.map((name) => [name, weight(tensors, weightKey(name))]));

const masters = (weights: NamedTensors): NamedTensors =>
  Object.fromEntries(Object.entries(weights).map(([name, values]) => [masterOf(name), values]));

/**
 * A matrix [row][group][column] as [group][row][column]: as a tensor of the IR has it that is split by columns. The model has its head as
 * one group, whatever the tensor degree.
 */
function inColumnGroups(values: Float32Array, groups: number, rows: number): Float32Array {
  if (groups === 1 || rows === 1) return values;
  const width = values.length / (groups * rows);
  const made = new Float32Array(values.length);
  for (let group = 0; group < groups; group++)
    for (let row = 0; row < rows; row++) {
      const from = (row * groups + group) * width;
      made.set(values.subarray(from, from + width), (group * rows + row) * width);
    }
  return made;
}

const gradientTensors = (tensors: ModelTensors, names: readonly WeightName[], layer?: number): NamedTensors =>
  Object.fromEntries(names.map((name) => [gradientOf(name), weight(tensors, weightKey(name, layer))]));
