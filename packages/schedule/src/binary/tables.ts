import { crc32 } from "node:zlib";
import { InputError } from "@hsap/workload";

export type Column = Uint8Array | Uint16Array | Int32Array | Float64Array;

/** Columns by table and name: `region.offset` is column `offset` of table `region`. */
export type Tables = Readonly<Record<string, Readonly<Record<string, Column>>>>;

export interface DecodedTables {
  readonly tables: Tables;
  /** Whatever JSON was stored beside the columns. */
  readonly metadata: unknown;
}

/** Codes of the element types. Append only. */
const elementTypes = [Uint8Array, Uint16Array, Int32Array, Float64Array] as const;

// The first byte is no text, the last four show line ends that were "repaired" on the way, as in PNG.
const magic = Uint8Array.of(0x89, 0x48, 0x53, 0x41, 0x50, 0x0d, 0x0a, 0x1a);
const version = 1;
const headerBytes = 32;
const nameBytes = 48;
const entryBytes = nameBytes + 24;
const metadataName = "metadata";

/**
 * The binary container: typed columns by name, ready to be used in place. Little-endian throughout.
 *
 * | bytes | what |
 * |---|---|
 * | 0-7 | magic: 89 48 53 41 50 0d 0a 1a |
 * | 8-11 | uint32 version, 1 |
 * | 12-15 | uint32 number of columns |
 * | 16-23 | uint64 length of the whole file |
 * | 24-27 | uint32 CRC-32 of all other bytes |
 * | 28-31 | 0 |
 *
 * then 72 bytes for each column: its name (48 bytes of UTF-8, padded with 0), uint32 element type (0 uint8, 1 uint16, 2 int32,
 * 3 float64), 0, uint64 number of elements, uint64 offset of the first from the start of the file, a multiple of 8; then the
 * columns. The last column, `metadata`, is JSON.
 */
export function encodeTables(tables: Tables, metadata: unknown = null): Uint8Array {
  const columns: [name: string, column: Column][] = Object.entries(tables).flatMap(([table, named]) =>
    Object.entries(named).map(([name, column]): [string, Column] => [`${table}.${name}`, column]),
  );
  columns.push([metadataName, new TextEncoder().encode(JSON.stringify(metadata))]);
  let length = headerBytes + columns.length * entryBytes;
  const offsets = columns.map(([, { byteLength }]) => {
    const offset = aligned(length);
    length = offset + byteLength;
    return offset;
  });
  const bytes = new Uint8Array(aligned(length));
  const view = new DataView(bytes.buffer);
  bytes.set(magic);
  view.setUint32(8, version, true);
  view.setUint32(12, columns.length, true);
  view.setBigUint64(16, BigInt(bytes.length), true);
  columns.forEach(([name, column], i) => {
    const entry = headerBytes + i * entryBytes;
    const { written } = new TextEncoder().encodeInto(name, bytes.subarray(entry, entry + nameBytes - 1));
    if (written < name.length) throw new Error(`column name too long: ${name} (must fit ${nameBytes - 1} bytes)`);
    view.setUint32(entry + nameBytes, typeCodeOf(column), true);
    view.setBigUint64(entry + nameBytes + 8, BigInt(column.length), true);
    view.setBigUint64(entry + nameBytes + 16, BigInt(offsets[i]), true);
    bytes.set(new Uint8Array(column.buffer, column.byteOffset, column.byteLength), offsets[i]);
  });
  view.setUint32(24, checksumOf(bytes), true);
  return bytes;
}

/**
 * Reads what `encodeTables` wrote. The columns are views of `bytes` where their alignment allows it.
 *
 * @throws InputError if the bytes are of another kind or version, truncated or damaged, or a column does not lie inside.
 */
export function decodeTables(source: Uint8Array): DecodedTables {
  // Views of 8-byte elements need 8-byte alignment; small Node buffers often lie anywhere in their pool.
  const bytes = source.byteOffset % 8 === 0 ? source : Uint8Array.from(source);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const count = checkHeader(bytes, view);
  const tables: Record<string, Record<string, Column>> = {};
  let metadata: unknown;
  for (let i = 0; i < count; i++) {
    const [name, column] = readColumn(bytes, view, headerBytes + i * entryBytes);
    if (name === metadataName) {
      metadata = parseMetadata(column);
      continue;
    }
    const dot = name.indexOf(".");
    const [table, key] = [name.slice(0, dot), name.slice(dot + 1)];
    if (dot < 1 || key === "" || Object.hasOwn(tables[table] ?? {}, key))
      throw new InputError(`invalid column: ${JSON.stringify(name)} (must be table.column, and unique)`);
    tables[table] ??= {};
    tables[table][key] = column;
  }
  if (metadata === undefined) throw new InputError(`missing column: ${metadataName}`);
  return { tables, metadata };
}

const aligned = (offset: number): number => Math.ceil(offset / 8) * 8;

function typeCodeOf(column: Column): number {
  return elementTypes.findIndex((type) => column instanceof type);
}

/** Of all bytes but those of the checksum itself. */
const checksumOf = (bytes: Uint8Array): number => crc32(bytes.subarray(28), crc32(bytes.subarray(0, 24)));

/** Returns the number of columns. */
function checkHeader(bytes: Uint8Array, view: DataView): number {
  const found = bytes.subarray(0, magic.length);
  if (found.length < magic.length || found.some((byte, i) => byte !== magic[i]))
    throw new InputError(`not a schedule: begins with ${hex(found)} (must be ${hex(magic)})`);
  if (bytes.length < headerBytes)
    throw new InputError(`truncated schedule: ${bytes.length} bytes (the header has ${headerBytes})`);
  const foundVersion = view.getUint32(8, true);
  if (foundVersion !== version) throw new InputError(`unknown version: ${foundVersion} (must be ${version})`);
  const length = view.getBigUint64(16, true);
  if (BigInt(bytes.length) !== length)
    throw new InputError(`truncated schedule: ${bytes.length} bytes (must be ${length})`);
  const [checksum, expected] = [checksumOf(bytes), view.getUint32(24, true)];
  if (checksum !== expected)
    throw new InputError(`damaged schedule: checksum ${checksum.toString(16)} (must be ${expected.toString(16)})`);
  const count = view.getUint32(12, true);
  if (headerBytes + count * entryBytes > bytes.length)
    throw new InputError(`invalid number of columns: ${count} (${bytes.length} bytes hold fewer)`);
  return count;
}

function readColumn(bytes: Uint8Array, view: DataView, entry: number): [name: string, column: Column] {
  const padded = bytes.subarray(entry, entry + nameBytes);
  const end = padded.indexOf(0);
  const name = new TextDecoder().decode(end < 0 ? padded : padded.subarray(0, end));
  const code = view.getUint32(entry + nameBytes, true);
  const count = Number(view.getBigUint64(entry + nameBytes + 8, true));
  const offset = Number(view.getBigUint64(entry + nameBytes + 16, true));
  const type = elementTypes[code];
  if (type === undefined)
    throw new InputError(`unknown element type: ${code} of column ${name} (must be below ${elementTypes.length})`);
  if (offset % 8 !== 0 || offset + count * type.BYTES_PER_ELEMENT > bytes.length)
    throw new InputError(
      `invalid column: ${name} with ${count} elements at byte ${offset} (the file has ${bytes.length})`,
    );
  return [name, new type(bytes.buffer as ArrayBuffer, bytes.byteOffset + offset, count)];
}

function parseMetadata(column: Column): unknown {
  const text = new TextDecoder().decode(column);
  try {
    return JSON.parse(text);
  } catch {
    throw new InputError(`invalid metadata: ${text.slice(0, 40)} (must be JSON)`);
  }
}

const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
