import { readFileSync } from "node:fs";
import type { Command, Option } from "commander";
import { describe, expect, test } from "vitest";
import { program } from "../src/program.ts";

const output = { out: () => undefined, err: () => undefined, terminal: false };
const commands = program({ output, version: "0", args: [], finish: () => undefined }).commands.flatMap((command) =>
  leavesOf(command),
);
const page = readFileSync(new URL("../../../docs/command.md", import.meta.url), "utf8");

describe("docs/command.md", () => {
  test.each(commands.flatMap(({ name, options }) => options.map(({ long }) => [name, long as string])))(
    "says what hsap %s %s means",
    (_, option) => {
      expect(page).toMatch(new RegExp(`\\| \`${option}[ \`]`));
    },
  );

  test("names no option that no command has", () => {
    const known = new Set(commands.flatMap(({ options }) => options.map(({ long }) => long)));
    const named = [...page.matchAll(/^\| `(--[a-z-]+)/gm)].map(([, option]) => option);
    expect(named.filter((option) => !known.has(option))).toEqual([]);
  });

  test("lists every command", () => {
    for (const command of commands) expect(page).toContain(`\`hsap ${command.name}\``);
  });
});

/** The command itself, or those below it, with their whole names. */
function leavesOf(command: Command, above = ""): { readonly name: string; readonly options: readonly Option[] }[] {
  const name = `${above}${command.name()}`;
  if (command.commands.length === 0) return [{ name, options: command.options }];
  return command.commands.flatMap((below) => leavesOf(below, `${name} `));
}
