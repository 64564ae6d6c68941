import { DOMParser } from "linkedom";
import { textWidth } from "../src/drawing/text.ts";

/** A line of text as drawn, in points of the page before it is scaled to its printed width. */
export interface TextBox {
  readonly text: string;
  readonly fontSize: number;
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

export const parseSvg = (svg: string): Element =>
  new DOMParser().parseFromString(svg, "image/svg+xml").documentElement as unknown as Element;

/** Elements of `tag` inside groups with the given aria-label, which Plot sets to the name of the mark. */
export const marksOf = (svg: string, mark: string, tag: string): Element[] => [
  ...parseSvg(svg).querySelectorAll(`g[aria-label="${mark}"] ${tag}`),
];

/** All lines of text with the boxes that they cover. */
export function textBoxes(svg: string): TextBox[] {
  const boxes: TextBox[] = [];
  visit(parseSvg(svg), { x: 0, y: 0, turned: false, anchor: "start", size: 16, bold: false }, boxes);
  return boxes;
}

/** Pairs of texts that cover one another, by more than the white space around letters. */
export function overlappingTexts(boxes: readonly TextBox[]): string[] {
  return boxes.flatMap((a, i) =>
    boxes
      .slice(i + 1)
      .filter(
        (b) => a.left < b.right - 0.3 && b.left < a.right - 0.3 && a.top < b.bottom - 0.3 && b.top < a.bottom - 0.3,
      )
      .map((b) => `${a.text} / ${b.text}`),
  );
}

interface Place {
  readonly x: number;
  readonly y: number;
  /** Turned by 90 degrees, as labels of vertical axes are. */
  readonly turned: boolean;
  readonly anchor: string;
  readonly size: number;
  readonly bold: boolean;
}

function visit(node: Element, place: Place, boxes: TextBox[]): void {
  const here = placeOf(node, place);
  if (node.nodeName !== "text") {
    for (const child of node.children) visit(child, here, boxes);
    return;
  }
  if (node.textContent === null || node.textContent.trim() === "") return;
  const lines = [...node.children].some((span) => span.getAttribute("y") !== null || span.getAttribute("dy") !== null)
    ? [...node.children]
    : [node];
  for (const line of lines) boxes.push(boxOf(line, line === node ? here : placeOf(line, here)));
}

function placeOf(node: Element, place: Place): Place {
  const number = (name: string) => length(node.getAttribute(name), size);
  const size = length(node.getAttribute("font-size"), place.size) || place.size;
  const transform = node.getAttribute("transform") ?? "";
  const [, tx = "0", ty = "0"] = /translate\(([-\d.]+)[, ]*([-\d.]*)\)/.exec(transform) ?? [];
  const turned = place.turned || /rotate\(-90/.test(transform);
  const own = { x: number("x") + number("dx"), y: number("y") + number("dy") };
  const shift = turned ? { x: own.y, y: -own.x } : own;
  return {
    x: place.x + Number(tx) + shift.x,
    y: place.y + Number(ty || "0") + shift.y,
    turned,
    anchor: node.getAttribute("text-anchor") ?? place.anchor,
    size,
    bold: place.bold || node.getAttribute("font-weight") === "bold",
  };
}

function boxOf(node: Element, { x, y, turned, anchor, size, bold }: Place): TextBox {
  const text = node.textContent ?? "";
  const indents = [...node.children].reduce((sum, span) => sum + length(span.getAttribute("dx"), size), 0);
  const width = textWidth(text, { size, bold }) + indents;
  const before = anchor === "middle" ? width / 2 : anchor === "end" ? width : 0;
  // Capitals and digits are about 0.72 em high and reach 0.2 em below the line at most.
  const [ascent, descent] = [0.72 * size, 0.2 * size];
  return turned
    ? { text, fontSize: size, left: x - ascent, right: x + descent, top: y - (width - before), bottom: y + before }
    : { text, fontSize: size, left: x - before, right: x - before + width, top: y - ascent, bottom: y + descent };
}

function length(value: string | null, size: number): number {
  if (value === null) return 0;
  return value.endsWith("em") ? Number.parseFloat(value) * size : Number.parseFloat(value);
}
