import type { Strategy } from "@hsap/schedule";
import { colaiSp } from "./colai-sp.ts";
import { reference } from "./reference.ts";
import { ring } from "./ring.ts";
import { ulysses } from "./ulysses.ts";
import { zigzag } from "./zigzag.ts";

/** Every published system that HSAP is compared with, and non-parallel attention, in the order of their publication. */
export const baselines: readonly Strategy[] = [reference, colaiSp, ulysses, ring, zigzag];
