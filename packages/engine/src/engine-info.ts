import type { Dtype } from "@hsap/schedule";
import { addon, type Isa } from "./addon.ts";

export interface EngineInfo {
  /** The instruction set that `auto` chooses: the best that this processor has. */
  readonly isa: Isa;
  /** Compiler and version that built the native engine. */
  readonly compiler: string;
  /** CMake's build type: anything but `Release` is slower than what is worth measuring. */
  readonly buildType: string;
}

/** How the native engine was built. Throws EngineError if it does not load. */
export function engineInfo(): EngineInfo {
  const { isa, compiler, buildType } = addon().info();
  return { isa, compiler, buildType };
}

/** The instruction set that `auto` chooses for a dtype. */
export function chosenIsa(dtype: Dtype): Isa {
  const { isas, isa } = addon().info();
  return dtype === "bf16" && isas.includes("avx512bf16") ? "avx512bf16" : isa;
}

/** How the products of matrices of a layer are computed on an instruction set. */
export function productsOf(dtype: Dtype, isa: Isa): string {
  if (dtype === "fp32") return `fp32 (${isa === "avx512bf16" ? "avx512" : isa})`;
  const how = isa === "avx512bf16" ? "dot products of pairs" : "factors widened";
  return `bf16 with fp32 sums (${isa}, ${how})`;
}

/** Instruction sets whose kernels this build has and this processor runs, the plainest first. */
export function kernelIsas(): Isa[] {
  return addon().info().isas;
}
