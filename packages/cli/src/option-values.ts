import { InputError } from "@hsap/workload";

/**
 * A whole number of at least `least`; `name` is the option's, for the message.
 *
 * @throws InputError otherwise.
 */
export function wholeNumber(name: string, text: string, least = 1): number {
  const value = /^[0-9]+$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value) || value < least) {
    throw new InputError(`invalid ${name}: ${text} (must be a whole number of at least ${least})`);
  }
  return value;
}

/** The entries of `a, b,c`. */
export function commaList(list: string): string[] {
  return list.split(",").map((entry) => entry.trim());
}

/**
 * `ulysses=2,sap=4` as an object.
 *
 * @throws InputError if an entry is not NAME=NUMBER, or a name comes twice.
 */
export function parseDegrees(text: string): Record<string, number> {
  const degrees: Record<string, number> = {};
  for (const entry of text.split(",")) {
    const [, name, value] = /^\s*([A-Za-z][A-Za-z0-9-]*)=(\S+)\s*$/.exec(entry) ?? [];
    if (name === undefined) throw new InputError(`invalid degrees: ${text} (must be like ulysses=2,sap=4)`);
    if (Object.hasOwn(degrees, name)) throw new InputError(`invalid degrees: ${text} (${name} is given twice)`);
    degrees[name] = wholeNumber(`degree ${name}`, value);
  }
  return degrees;
}

/**
 * `NAME=VALUE` options of a strategy; numbers and true or false are read as such.
 *
 * @throws InputError if an entry has no name.
 */
export function parseStrategyOptions(entries: readonly string[]): Record<string, string | number | boolean> {
  const options: Record<string, string | number | boolean> = {};
  for (const entry of entries) {
    const [, name, value] = /^([A-Za-z][A-Za-z0-9-]*)=(.*)$/.exec(entry) ?? [];
    if (name === undefined) throw new InputError(`invalid option: ${entry} (must be like shard=balanced)`);
    const number = Number(value);
    if (value === "true" || value === "false") options[name] = value === "true";
    else options[name] = value.trim() !== "" && Number.isFinite(number) ? number : value;
  }
  return options;
}

const units: Readonly<Record<string, number>> = {
  "": 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KIB: 2 ** 10,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
};

/**
 * Bytes of `512MiB`, `2GB` or a bare number of bytes.
 *
 * @throws InputError otherwise.
 */
export function parseBytes(name: string, text: string): number {
  const [, number, unit] = /^([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)$/.exec(text) ?? [];
  const factor = units[unit?.toUpperCase() ?? "missing"];
  const bytes = Math.floor(Number(number) * factor);
  if (!(bytes >= 1)) throw new InputError(`invalid ${name}: ${text} (must be like 512MiB, 2GB or a number of bytes)`);
  return bytes;
}

/**
 * One of the words that an option allows.
 *
 * @throws InputError if it is none of them.
 */
export function oneOf<Word extends string>(name: string, text: string, words: readonly Word[]): Word {
  const found = words.find((word) => word === text);
  if (found === undefined) throw new InputError(`unknown ${name}: ${text} (must be ${words.join(" or ")})`);
  return found;
}
