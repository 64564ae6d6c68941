import { pngOf } from "@hsap/figures";
import { InputError } from "@hsap/workload";

/**
 * How a figure is written, by the ending of its file.
 *
 * @throws InputError if it is another than .svg or .png.
 */
export function figureFormat(path: string): (svg: string) => string | Uint8Array {
  if (path.endsWith(".svg")) return (svg) => svg;
  if (path.endsWith(".png")) return pngOf;
  throw new InputError(`invalid figure: ${path} (must end in .svg or .png)`);
}
