import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { ClusterError } from "./cluster-error.mjs";
import { folderOf } from "./layout.mjs";

/**
 * What a cluster has made, in order of making. Everything is noted before it is made, so whatever ends us, the journal names
 * all that may be there, and nothing else is ever taken down. Processes need no note: all of them live in the namespaces.
 *
 * @typedef {{ kind: "namespace", namespace: string } | { kind: "cgroup", folder: string }} Made
 */

/** The journal of a cluster that is up or was left behind, or undefined. */
export function readJournal(name) {
  const file = fileOf(name);
  if (!existsSync(file)) return undefined;
  try {
    const { wish, made } = JSON.parse(readFileSync(file, "utf8"));
    return journalOf(name, wish, made);
  } catch (error) {
    throw new ClusterError(`cannot read ${file} (${error.message}); it says what cluster ${name} has made`);
  }
}

/** @throws ClusterError if there is a cluster of that name. */
export function beginJournal(wish) {
  if (existsSync(fileOf(wish.name))) {
    throw new ClusterError(`cluster ${wish.name} is there already (take it down, or choose another --name)`);
  }
  mkdirSync(folderOf(wish.name), { recursive: true, mode: 0o755 });
  const journal = journalOf(wish.name, wish, []);
  journal.save();
  return journal;
}

function journalOf(name, wish, made) {
  return {
    wish,
    made,
    note(thing) {
      made.push(thing);
      this.save();
    },
    save() {
      const file = fileOf(name);
      writeFileSync(`${file}.new`, `${JSON.stringify({ wish, made }, null, 1)}\n`);
      renameSync(`${file}.new`, file);
    },
    /** Forgets the cluster, once all that it made is gone. */
    end() {
      rmSync(folderOf(name), { recursive: true, force: true });
    },
  };
}

const fileOf = (name) => path.join(folderOf(name), "journal.json");
