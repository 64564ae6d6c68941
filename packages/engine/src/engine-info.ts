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

/** Instruction sets whose kernels this build has and this processor runs, the plainest first. */
export function kernelIsas(): Isa[] {
  return addon().info().isas;
}
