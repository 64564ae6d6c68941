export * from "./baselines.ts";
export * from "./bounds.ts";
export * from "./colai-sp.ts";
export * from "./degrees.ts";
export { reference } from "./reference.ts";
export { ring } from "./ring.ts";
export { ulysses } from "./ulysses.ts";
export { zigzag } from "./zigzag.ts";
