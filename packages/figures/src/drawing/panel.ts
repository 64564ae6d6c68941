import { type PlotOptions, plot } from "@observablehq/plot";
import { ink } from "./palette.ts";
import { element, svgDocument } from "./svg.ts";
import { fontFamily, fontSize } from "./text.ts";

/** A part of a page at (x, y), in points. */
export interface Panel {
  readonly x: number;
  readonly y: number;
  readonly node: Element;
}

/** Where a plot lies on its page, in points; the margins are inside. */
export interface PanelBox {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly marginLeft: number;
  readonly marginRight: number;
  readonly marginTop: number;
  readonly marginBottom: number;
}

/** Draws `options` with Observable Plot and takes what it drew out of its own SVG, so that a page is one SVG. */
export function plotPanel(box: PanelBox, options: PlotOptions): Panel {
  const { x, y, ...size } = box;
  const drawn = plot({ document: svgDocument, ...options, ...size });
  if (drawn.nodeName.toLowerCase() !== "svg") throw new Error("invalid panel: a legend or title made it HTML");
  const style = { fill: ink.text, "font-family": fontFamily, "font-size": fontSize.label, "text-anchor": "middle" };
  const node = element("g", style);
  for (const child of [...drawn.children]) {
    if (child.nodeName.toLowerCase() !== "style") node.append(child);
  }
  return { x, y, node };
}

/** The lines above a panel whose room begins at (x, y): its letter and what it shows, and below that how, where it is said. */
export const headings = (x: number, y: number, letter: string, text: string, how?: string): Panel[] => [
  heading(x + 2, y + 9, letter, text),
  ...(how === undefined ? [] : [subheading(x + 2, y + 19, how)]),
];

/** A panel's heading alone: its letter and what it shows. */
export function heading(x: number, y: number, letter: string, text: string): Panel {
  const style = { "font-family": fontFamily, "font-size": fontSize.panel, fill: ink.text };
  const bold = element("tspan", { "font-weight": "bold" }, letter);
  return { x, y, node: element("text", style, bold, element("tspan", { dx: 4 }, text)) };
}

function subheading(x: number, y: number, text: string): Panel {
  const style = { "font-family": fontFamily, "font-size": fontSize.label, fill: ink.quiet };
  return { x, y, node: element("text", style, text) };
}
