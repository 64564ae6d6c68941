import type { Legend } from "./legend.ts";
import { ink } from "./palette.ts";
import type { Panel } from "./panel.ts";
import { element, group, serialize } from "./svg.ts";
import { fontFamily, fontSize, wrapText } from "./text.ts";

const pointsPerMm = 72 / 25.4;

/** Widths of a printed page's single and double column, in points: 85 and 178 mm. */
export const columnWidth = { single: 85 * pointsPerMm, double: 178 * pointsPerMm } as const;

export interface Page {
  /** Points. */
  readonly width: number;
  /** Height of what stands below title, caption and legend, in points. */
  readonly bodyHeight: number;
  readonly title: string;
  /** One sentence or two: what is shown, whether counted, measured or simulated, and where. */
  readonly caption: string;
  /** Stands between the caption and the body. */
  readonly legend: Legend;
  /** Positions are relative to the body's top left corner. */
  readonly panels: readonly Panel[];
}

const captionLine = 9.6;
// White space around the page, so that a picture shown alone does not touch its border.
const padding = 4;

/** Lays title, caption, legend and panels on a white page and returns it as an SVG file at print size. */
export function drawPage({ width, bodyHeight, title, caption, legend, panels }: Page): string {
  const lines = wrapText(caption, width - 2, { size: fontSize.caption });
  const legendTop = 13 + lines.length * captionLine + 5;
  const bodyTop = legendTop + legend.height + 8;
  const outer = { width: width + 2 * padding, height: bodyTop + bodyHeight + 2 * padding };
  // The page is as wide as its column; the padding shrinks what is inside by less than 4 %.
  const mm = (points: number) => `${((points * width) / outer.width / pointsPerMm).toFixed(2)}mm`;
  const root = element("svg", {
    role: "img",
    viewBox: `${-padding} ${-padding} ${outer.width} ${outer.height}`,
    height: mm(outer.height),
    width: mm(outer.width),
    xmlns: "http://www.w3.org/2000/svg",
  });
  const font = { "font-family": fontFamily };
  root.append(
    element("title", {}, title),
    element("desc", {}, caption),
    element("rect", { x: -padding, y: -padding, ...outer, fill: ink.paper }),
    element("text", { ...font, y: 9, "font-size": fontSize.title, "font-weight": "bold", fill: ink.text }, title),
    ...lines.map((line, i) =>
      element("text", { ...font, y: 20 + i * captionLine, "font-size": fontSize.caption, fill: ink.quiet }, line),
    ),
    group(legend.x, legendTop + legend.y, legend.node),
    group(0, bodyTop, ...panels.map(({ x, y, node }) => group(x, y, node))),
  );
  return serialize(root);
}
