import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { Resvg, type ResvgRenderOptions } from "@resvg/resvg-js";

/** Arimo has the metrics of Arial and Liberation Sans, so an SVG looks the same where only one of those is installed. */
export const fontFamily = "Arimo, Arial, Liberation Sans, Helvetica, sans-serif";

/** In points at print size. Nothing is set smaller than `label`. */
export const fontSize = { title: 9.6, panel: 8.6, caption: 7.6, label: 7.3 } as const;

const fontFolder = dirname(createRequire(import.meta.url).resolve("@expo-google-fonts/arimo/package.json"));

/** Only the fonts that come with this package: a machine's own would make the output differ. */
export const rasterFonts: NonNullable<ResvgRenderOptions["font"]> = {
  fontFiles: [
    join(fontFolder, "400Regular", "Arimo_400Regular.ttf"),
    join(fontFolder, "400Regular_Italic", "Arimo_400Regular_Italic.ttf"),
    join(fontFolder, "700Bold", "Arimo_700Bold.ttf"),
  ],
  loadSystemFonts: false,
  defaultFontFamily: "Arimo",
};

export interface TextStyle {
  /** Points. */
  readonly size: number;
  readonly bold?: boolean;
}

/** Width of one line in points, measured by the renderer itself. */
export function textWidth(text: string, { size, bold = false }: TextStyle): number {
  const key = `${bold ? "bold" : "regular"} ${text}`;
  const known = widthsAt100.get(key);
  if (known !== undefined) return (known * size) / 100;
  // Measured large and scaled down; letters at both ends keep the spaces of the text from being trimmed.
  const width = inkWidth(`|${text}|`, bold) - inkWidth("||", bold);
  widthsAt100.set(key, width);
  return (width * size) / 100;
}

/** Breaks text into lines of at most `width` points, between words. */
export function wrapText(text: string, width: number, style: TextStyle): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const longer = lines.length === 0 ? word : `${lines[lines.length - 1]} ${word}`;
    if (lines.length > 0 && textWidth(longer, style) <= width) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

const widthsAt100 = new Map<string, number>();

function inkWidth(text: string, bold: boolean): number {
  const escaped = text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"><text y="100" xml:space="preserve" ` +
    `font-family="Arimo" font-size="100"${bold ? ' font-weight="bold"' : ""}>${escaped}</text></svg>`;
  return new Resvg(svg, { font: rasterFonts }).getBBox()?.width ?? 0;
}
