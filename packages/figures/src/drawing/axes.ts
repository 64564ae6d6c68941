import { type AxisXOptions, type AxisYOptions, axisX, axisY, type Markish } from "@observablehq/plot";
import { ink } from "./palette.ts";

const style = {
  tickSize: 3,
  tickPadding: 2,
  strokeWidth: 0.6,
  color: ink.text,
  labelAnchor: "center",
  labelArrow: "none",
} as const;

/** An axis below a plot, with its label in the middle. */
export const bottomAxis = (label: string, options: AxisXOptions = {}): Markish =>
  axisX({ ...style, labelOffset: 22, label, ...options });

/** Ticks to ask for on a narrow axis up to `highest`: numbers of three digits need more room than shorter ones. */
export const narrowTicks = (highest: number): number => (highest >= 100 ? 2 : 3);

/** An axis left of a plot, with its label in the middle, `labelOffset` points from the plot. */
export const leftAxis = (label: string, labelOffset: number, options: AxisYOptions = {}): Markish =>
  axisY({ ...style, labelOffset, label, ...options });

/** Ticks and labels of an axis of tokens: a power of two apart, `4k` for 4096. */
export function tokenTicks(tokens: number, most: number): { ticks: number[]; tickFormat: (tokens: number) => string } {
  const step = Math.max(1, 2 ** Math.ceil(Math.log2(tokens / most)));
  const ticks = Array.from({ length: Math.floor(tokens / step) + 1 }, (_, i) => i * step);
  return { ticks, tickFormat: tokenLabel };
}

/** A count of tokens in short: `4k` for 4096, `1.5k` for 1536, otherwise all digits. */
export function tokenLabel(tokens: number): string {
  const kilo = tokens / 1024;
  return tokens >= 1024 && Number.isInteger(kilo * 4) ? `${kilo}k` : String(tokens);
}
