import { readFileSync } from "node:fs";
import { extname } from "node:path";
import { CsvError, parse } from "csv-parse/sync";
import { InputError } from "./input-error.ts";
import { checkedLength, maxTokens } from "./packed-batch.ts";

/**
 * Document lengths (tokens) from a command-line list such as `4096,128,7`.
 *
 * @throws InputError if the list is empty or an entry is not a whole number of tokens.
 */
export function parseDocs(list: string): number[] {
  if (list.trim() === "") throw new InputError('invalid docs: "" (give lengths such as 4096,128,7)');
  return list.split(",").map((text, document) => wholeNumber(text, `document ${document}`));
}

/**
 * Document lengths (tokens) from a `.csv` or `.json` file.
 *
 * @throws InputError if the file cannot be read, has another ending, or holds anything but document lengths.
 */
export function readLengths(file: string): number[] {
  const ending = extname(file).toLowerCase();
  if (ending !== ".csv" && ending !== ".json") {
    throw new InputError(`invalid lengths file: ${file} (must end in .csv or .json)`);
  }
  const text = readText(file);
  return ending === ".csv" ? lengthsFromCsv(text, file) : lengthsFromJson(text, file);
}

/**
 * Document lengths from CSV with a header: the column named `tokens`, or the only column. `file` names the source in
 * messages, with the line.
 *
 * @throws InputError if the CSV is broken, has no such column or no rows, or a value is not a document length.
 */
export function lengthsFromCsv(text: string, file: string): number[] {
  const rows = csvRows(text, file);
  if (rows.length === 0)
    throw new InputError(`invalid lengths file: ${file} is empty (needs a header and one line per document)`);
  const [{ record: header }, ...body] = rows;
  const column = header.length === 1 ? 0 : header.indexOf("tokens");
  if (column < 0) throw new InputError(`missing column: tokens in ${file} (found ${header.join(", ")})`);
  if (header.length === 1 && /^[-+.\d\s]+$/.test(header[0])) {
    throw new InputError(
      `missing header: ${file} line 1 is ${header[0]} (the first line names the column, such as tokens)`,
    );
  }
  if (body.length === 0)
    throw new InputError(`invalid lengths file: ${file} has no documents (one line each below the header)`);
  return body.map(({ record, info }) => wholeNumber(record[column], `${file} line ${info.lines}`));
}

/**
 * Document lengths from a JSON array of numbers. `file` names the source in messages, with the index.
 *
 * @throws InputError if the text is not a JSON array of at least one document length.
 */
export function lengthsFromJson(text: string, file: string): number[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new InputError(`invalid JSON: ${file} (${oneLine(error)})`);
  }
  if (!Array.isArray(value) || value.length === 0) {
    throw new InputError(`invalid lengths file: ${file} (must be a JSON array of at least 1 length)`);
  }
  return value.map((length, document) => checkedLength(length, `${file} document ${document}`));
}

interface CsvRow {
  readonly record: string[];
  readonly info: { readonly lines: number };
}

function csvRows(text: string, file: string): CsvRow[] {
  try {
    // The parser's typing does not know that `info` changes the shape of a row.
    return parse(text, { bom: true, info: true, skip_empty_lines: true, trim: true }) as unknown as CsvRow[];
  } catch (error) {
    const line = error instanceof CsvError ? ` line ${error.lines}` : "";
    throw new InputError(`invalid CSV: ${file}${line} (${oneLine(error)})`);
  }
}

function wholeNumber(text: string, where: string): number {
  if (!/^\s*[0-9]+\s*$/.test(text)) {
    throw new InputError(
      `invalid length: ${JSON.stringify(text)} at ${where} (must be a whole number from 1 to ${maxTokens})`,
    );
  }
  return checkedLength(Number(text), where);
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new InputError(`unreadable lengths file: ${file} (${oneLine(error)})`);
  }
}

function oneLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0];
}
