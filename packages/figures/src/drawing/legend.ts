import { ink } from "./palette.ts";
import type { Panel } from "./panel.ts";
import { element, group } from "./svg.ts";
import { fontFamily, fontSize, textWidth } from "./text.ts";

/** How one kind of thing is drawn, and what it is. */
export interface LegendEntry {
  readonly label: string;
  readonly colour: string;
  /** `box` (default) is a filled area; `thin` a low one; the others are marks as they stand in the plot. */
  readonly shape?: "box" | "thin" | "dot" | "diamond" | "cross" | "tick" | "line" | "interval" | "dashes";
  /** Colour of a box's border. */
  readonly stroke?: string;
  readonly hollow?: boolean;
}

const swatch = 8;
const gap = 3.5;
const space = 13;
const lineHeight = 11.5;

export interface LegendOptions {
  /** 0 where left out. */
  readonly x?: number;
  readonly y?: number;
  /** Entries go on to a next line where this is full. */
  readonly width: number;
  /** Stands before the first entry. */
  readonly title?: string;
}

/** A legend and the height that its lines take. */
export interface Legend extends Panel {
  readonly height: number;
}

/** A legend in lines from left to right. */
export function legend(entries: readonly LegendEntry[], options: LegendOptions): Legend {
  const { x = 0, y = 0, width, title } = options;
  const style = { "font-family": fontFamily, "font-size": fontSize.label, fill: ink.text };
  const node = element("g", { ...style, class: "legend" });
  let left = 0;
  let top = 0;
  if (title !== undefined) {
    node.append(element("text", { x: 0, y: 6.6, "font-weight": "bold" }, title));
    left = textWidth(title, { size: fontSize.label, bold: true }) + space - 4;
  }
  const indent = left;
  for (const entry of entries) {
    const needed = swatch + gap + textWidth(entry.label, { size: fontSize.label });
    if (left + needed > width && left > indent) {
      left = indent;
      top += lineHeight;
    }
    node.append(group(left, top, drawSwatch(entry), element("text", { x: swatch + gap, y: 6.6 }, entry.label)));
    left += needed + space;
  }
  return { x, y, node, height: top + lineHeight };
}

function drawSwatch({ shape = "box", colour, stroke, hollow = false }: LegendEntry): Element {
  const middle = swatch / 2;
  const outline = { fill: hollow ? ink.paper : colour, stroke: colour, "stroke-width": 1.1 };
  switch (shape) {
    case "box":
      return element("rect", { width: swatch, height: swatch, fill: colour, stroke, "stroke-width": stroke && 0.6 });
    case "thin":
      return element("rect", { y: 2.5, width: swatch, height: 3, fill: colour });
    case "dot":
      return element("circle", { cx: middle, cy: middle, r: 2.6, ...outline });
    case "diamond":
      return element("path", { d: `M${middle},0.6L7.4,${middle}L${middle},7.4L0.6,${middle}Z`, ...outline });
    case "cross":
      return element("path", { d: "M1.5,1.5L6.5,6.5M6.5,1.5L1.5,6.5", stroke: colour, "stroke-width": 1.1 });
    case "tick":
      return element("path", { d: `M${middle},0V${swatch}`, stroke: colour, "stroke-width": 1.4 });
    case "line":
      return element("path", { d: `M0,${middle}H${swatch}`, stroke: colour, "stroke-width": 1.4 });
    case "dashes":
      return element("path", {
        d: `M0,${middle}H${swatch}`,
        stroke: colour,
        "stroke-width": 1,
        "stroke-dasharray": "2,1.5",
      });
    case "interval":
      return element("path", {
        d: `M0.5,${middle}H7.5M0.5,1.8V6.2M7.5,1.8V6.2`,
        stroke: colour,
        "stroke-width": 1,
        fill: "none",
      });
  }
}
