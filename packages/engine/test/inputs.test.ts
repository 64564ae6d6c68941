import { describe, expect, it } from "vitest";
import { addon } from "../src/addon.ts";

const mask64 = (1n << 64n) - 1n;
const golden = 0x9e3779b97f4a7c15n;

/** The documented function of a place and a seed, written once more with whole numbers alone. */
function element(tensor: number, token: number, head: number, column: number, seed: number): number {
  const mix = (value: bigint) => {
    let bits = value & mask64;
    bits = ((bits ^ (bits >> 30n)) * 0xbf58476d1ce4e5b9n) & mask64;
    bits = ((bits ^ (bits >> 27n)) * 0x94d049bb133111ebn) & mask64;
    return bits ^ (bits >> 31n);
  };
  const place = (BigInt(token) << 32n) | BigInt(head);
  const row = mix(mix(BigInt(seed) + golden * BigInt(1 + tensor)) ^ mix(place + golden));
  const bits = mix(row + golden * BigInt(column + 1));
  const sum = [0n, 16n, 32n, 48n].reduce((total, shift) => total + Number((bits >> shift) & 0xffffn), 0);
  return Math.fround((sum - 131070) * Math.fround(1 / Math.fround(37837.22746)));
}

describe("generated inputs", () => {
  it("are the same function of tensor, token, head, column and seed in two languages", () => {
    for (const tensor of [0, 1, 2, 3]) {
      for (const [token, head, column, seed] of [
        [0, 0, 0, 1],
        [1, 0, 0, 1],
        [0, 1, 0, 1],
        [0, 0, 1, 1],
        [2 ** 31 - 1, 65535, 65534, Number.MAX_SAFE_INTEGER],
      ]) {
        expect(addon().inputElement(tensor, token, head, column, seed, false)).toBe(
          element(tensor, token, head, column, seed),
        );
      }
    }
  });

  it("have mean 0 and variance 1, and differ between tensors, heads and seeds", () => {
    const sample = (tensor: number, head: number, seed: number) =>
      Array.from({ length: 20_000 }, (_, i) => addon().inputElement(tensor, i >> 6, head, i & 63, seed, false));
    const one = sample(0, 0, 1);
    const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
    expect(Math.abs(mean(one))).toBeLessThan(0.03);
    expect(Math.abs(mean(one.map((value) => value * value)) - 1)).toBeLessThan(0.03);
    for (const other of [sample(1, 0, 1), sample(0, 1, 1), sample(0, 0, 2)]) {
      expect(Math.abs(mean(one.map((value, i) => value * other[i])))).toBeLessThan(0.03);
    }
  });

  it("of bf16 problems are the fp32 ones rounded to 8 bits of mantissa, ties to even", () => {
    const bits = (value: number) => new Uint32Array(Float32Array.of(value).buffer)[0];
    for (let column = 0; column < 500; column++) {
      const full = bits(addon().inputElement(0, 3, 1, column, 1, false));
      const rounded = bits(addon().inputElement(0, 3, 1, column, 1, true));
      const low = full % 0x10000;
      const floor = full - low;
      const up = low > 0x8000 || (low === 0x8000 && (floor / 0x10000) % 2 === 1);
      expect(rounded).toBe(up ? floor + 0x10000 : floor);
    }
  });
});
