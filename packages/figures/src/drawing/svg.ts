/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
import { DOMParser } from "linkedom";

const namespace = "http://www.w3.org/2000/svg";

/** The document that Plot and we make elements in. An XML one, so that names keep their capitals. */
export const svgDocument = new DOMParser().parseFromString(
  `<svg xmlns="${namespace}"></svg>`,
  "image/svg+xml",
) as unknown as Document;

export type Attributes = Readonly<Record<string, string | number | undefined>>;

/** An SVG element; text children are escaped. */
export function element(name: string, attributes: Attributes, ...children: readonly (Element | string)[]): Element {
  const node = svgDocument.createElementNS(namespace, name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined) node.setAttribute(key, String(value));
  }
  node.append(...children);
  return node;
}

/** Moves `children` to (x, y). */
export const group = (x: number, y: number, ...children: readonly Element[]): Element =>
  element("g", { transform: `translate(${x},${y})` }, ...children);

/**
 * The SVG file of `root`: coordinates in hundredths of a point, so that files are small and rounding errors do not show.
 *
 * @throws Error if a coordinate is not a number.
 */
export function serialize(root: Element): string {
  const text = root.outerHTML.replace(geometry, (_, name: string, value: string) => {
    if (/NaN|Infinity|undefined/.test(value)) throw new Error(`invalid coordinate: ${name}="${value}"`);
    return ` ${name}="${value.replace(/-?\d+\.\d+(e-?\d+)?/g, (number) => rounded(Number(number)))}"`;
  });
  return `${text}\n`;
}

const geometry =
  / (d|transform|points|viewBox|x|y|x1|x2|y1|y2|cx|cy|r|rx|width|height|stroke-width|font-size)="([^"]*)"/g;

// Adding 0 turns -0 into 0.
const rounded = (value: number): string => String(Math.round(value * 100) / 100 + 0);
