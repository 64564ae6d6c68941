import { Resvg } from "@resvg/resvg-js";
import { rasterFonts } from "./text.ts";

/** Dots per inch of PNG files at print size. */
const pngDpi = 300;

// The size of a page is in millimetres, which the renderer takes at 96 dots per inch.
const zoom = pngDpi / 96;

/** Renders an SVG file. The same bytes on every machine: only the fonts that come with this package are used. */
export function pngOf(svg: string): Uint8Array {
  return new Resvg(svg, { font: rasterFonts, fitTo: { mode: "zoom", value: zoom } }).render().asPng();
}
