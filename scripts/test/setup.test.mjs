import { spawn } from "node:child_process";
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fingerprint } from "../setup/fingerprint.mjs";
import { withLock } from "../setup/lock.mjs";
import { packages } from "../setup/packages.mjs";
import { stepRunner } from "../setup/run-step.mjs";
import { readStamp, writeStamp } from "../setup/stamp.mjs";
import { checkCMake, checkNode, findCompiler } from "../setup/toolchain.mjs";

let root;
beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), "hsap-setup-"));
});
afterEach(() => rmSync(root, { recursive: true }));

describe("a fingerprint", () => {
  it("changes with the content of a file, a name, or a new file, and not with times", () => {
    write("src/a.txt", "one");
    const before = fingerprint(root, ["src"]);
    utimesSync(path.join(root, "src/a.txt"), 1, 1);
    expect(fingerprint(root, ["src"])).toBe(before);
    write("src/a.txt", "two");
    const changed = fingerprint(root, ["src"]);
    write("src/b.txt", "");
    const added = fingerprint(root, ["src"]);
    expect(new Set([before, changed, added]).size).toBe(3);
  });

  it("leaves out what is built", () => {
    write("native/a.cpp", "one");
    const before = fingerprint(root, ["native"]);
    write("native/build/a.o", "x");
    write("native/build-asan/a.o", "x");
    write("native/node_modules/x/index.js", "x");
    expect(fingerprint(root, ["native"])).toBe(before);
  });

  it("does not take one file's content for another file", () => {
    write("src/a", "x\0src/b\x001\0y");
    const one = fingerprint(root, ["src"]);
    write("src/a", "x");
    write("src/b", "y");
    expect(fingerprint(root, ["src"])).not.toBe(one);
  });
});

describe("a stamp", () => {
  it("says what was written, and nothing where there is none", () => {
    const file = path.join(root, "deep/stamp");
    expect(readStamp(file)).toBeUndefined();
    writeStamp(file, "abc");
    expect(readStamp(file)).toBe("abc");
    expect(readdirSync(path.dirname(file))).toEqual(["stamp"]);
  });
});

describe("the lock", () => {
  const lockModule = fileURLToPath(new URL("../setup/lock.mjs", import.meta.url));

  it("lets processes in one after the other", async () => {
    const script = `
      import { appendFileSync } from "node:fs";
      import { setTimeout as sleep } from "node:timers/promises";
      import { withLock } from ${JSON.stringify(lockModule)};
      await withLock("lock", async () => {
        appendFileSync("log", "in\\n");
        await sleep(50);
        appendFileSync("log", "out\\n");
      }, () => {});`;
    const exits = await Promise.all(Array.from({ length: 4 }, () => run(script)));
    expect(exits).toEqual([0, 0, 0, 0]);
    expect(readFileSync(path.join(root, "log"), "utf8")).toBe("in\nout\n".repeat(4));
    expect(readdirSync(root)).toEqual(["log"]);
  });

  it("is taken over from a process that was killed", async () => {
    const script = `
      import { withLock } from ${JSON.stringify(lockModule)};
      await withLock("lock", () => process.kill(process.pid, "SIGKILL"), () => {});`;
    await run(script);
    expect(readdirSync(root)).toContain("lock");
    expect(
      await withLock(
        path.join(root, "lock"),
        () => "done",
        () => {},
      ),
    ).toBe("done");
    expect(readdirSync(root)).toEqual([]);
  });

  it("is not taken over while a program that a killed process started still runs", async () => {
    const script = `
      import { spawn } from "node:child_process";
      import { withLock } from ${JSON.stringify(lockModule)};
      await withLock("lock", (noteGroup) => {
        const program = "setTimeout(() => require('node:fs').appendFileSync('log', 'program ended, '), 400)";
        noteGroup(spawn(process.execPath, ["-e", program], { detached: true, stdio: "ignore" }).pid);
        process.kill(process.pid, "SIGKILL");
      }, () => {});`;
    await run(script);
    await withLock(
      path.join(root, "lock"),
      () => appendFileSync(path.join(root, "log"), "taken over"),
      () => {},
    );
    expect(readFileSync(path.join(root, "log"), "utf8")).toBe("program ended, taken over");
  });

  it("is given back when the work throws", async () => {
    const failing = withLock(
      path.join(root, "lock"),
      () => {
        throw new Error("boom");
      },
      () => {},
    );
    await expect(failing).rejects.toThrow("boom");
    expect(readdirSync(root)).toEqual([]);
  });

  /** The exit code of a Node process that runs the module in the test's folder. */
  function run(script) {
    return new Promise((resolve) => {
      spawn(process.execPath, ["--input-type=module", "-e", script], { cwd: root, stdio: "inherit" }).on(
        "exit",
        resolve,
      );
    });
  }
});

describe("a step", () => {
  const nodeStep = (script) => stepRunner(root)(process.execPath, ["-e", script]);

  it("fails in one line with the program's exit code", async () => {
    await expect(nodeStep("process.exit(3)")).rejects.toThrow(/^failed with exit code 3: [^\n]+$/);
  });

  it("fails in one line if there is no such program", async () => {
    await expect(stepRunner(root)("no-such-program", [])).rejects.toThrow(/^cannot start no-such-program \([^\n]+\)$/);
  });

  it("says that a signal ended the program", async () => {
    await expect(nodeStep("process.kill(process.pid, 'SIGKILL')")).rejects.toThrow(/^ended by SIGKILL: /);
  });

  it("ends the program when set-up itself is interrupted, and says so", async () => {
    const stepModule = fileURLToPath(new URL("../setup/run-step.mjs", import.meta.url));
    const script = `
      import { stepRunner } from ${JSON.stringify(stepModule)};
      const run = stepRunner(".", () => setTimeout(() => process.kill(process.pid, "SIGTERM"), 300));
      await run(process.execPath, ["-e", "setTimeout(() => {}, 60_000)"]).catch((error) => console.error(error.message));`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], { cwd: root });
    const said = [];
    child.stderr.on("data", (chunk) => said.push(chunk));
    const status = await new Promise((resolve) => child.on("close", resolve));
    expect(status).toBe(128 + 15);
    expect(Buffer.concat(said).toString()).toMatch(
      /^interrupted by SIGTERM: [^\n]+\(the next set-up goes on from here\)\n$/,
    );
  });
});

describe("the packages that are installed", () => {
  const installed = { "node_modules/a": { version: "1.0.0", integrity: "x" } };

  it("are fresh where npm's own list says the locked versions, whoever installed them", () => {
    lock(installed, installed);
    expect(packages.isFresh(root)).toBe(true);
    rmSync(path.join(root, "node_modules/.package-lock.json"));
    expect(packages.isFresh(root)).toBe(true);
  });

  it("may lack optional packages of other platforms", () => {
    lock({ ...installed, "node_modules/b-win32": { version: "1.0.0", optional: true } }, installed);
    expect(packages.isFresh(root)).toBe(true);
  });

  it.each([
    ["have another version", { "node_modules/a": { version: "1.0.1", integrity: "x" } }],
    ["have another content", { "node_modules/a": { version: "1.0.0", integrity: "y" } }],
    ["lack one", { ...installed, "node_modules/b": { version: "1.0.0" } }],
  ])("are stale where they %s", (_, locked) => {
    lock(locked, installed);
    expect(packages.isFresh(root)).toBe(false);
  });

  it("are stale where the lock file changed since", () => {
    lock(installed, installed);
    expect(packages.isFresh(root)).toBe(true);
    lock({ "node_modules/a": { version: "2.0.0", integrity: "z" } }, installed);
    expect(packages.isFresh(root)).toBe(false);
  });

  it("are stale where there are none", () => {
    write("package-lock.json", JSON.stringify({ packages: installed }));
    expect(packages.isFresh(root)).toBe(false);
  });

  function lock(locked, found) {
    write("package-lock.json", JSON.stringify({ packages: { "": {}, ...locked } }));
    write("node_modules/.package-lock.json", JSON.stringify({ packages: found }));
  }
});

describe("the tool chain", () => {
  it("takes this Node and a newer one, and says in one line that one is too old", () => {
    expect(() => checkNode(">=20.19", "20.19.0")).not.toThrow();
    expect(() => checkNode(">=20.19", "22.0.0")).not.toThrow();
    expect(() => checkNode(">=20.19", "20.9.1")).toThrow(
      "Node 20.9.1 is too old (needs 20.19 or newer: install it from nodejs.org)",
    );
  });

  it("says in one line that there is no compiler, or none for C++20", () => {
    expect(() => findCompiler({ PATH: root })).toThrow(
      "no C++20 compiler among c++, g++, clang++ (install one: apt-get install g++, or set CXX)",
    );
    expect(() => findCompiler({ PATH: root, CXX: "/bin/false" })).toThrow("no C++20 compiler among /bin/false");
  });

  it("says in one line that there is no cmake, or an old one", () => {
    expect(() => checkCMake("3.21", { PATH: root })).toThrow(
      "no cmake found (needs 3.21 or newer: apt-get install cmake)",
    );
    expect(() => checkCMake("99.1")).toThrow(/^cmake \d+\.\d+ is too old \(needs 99\.1 or newer\)$/);
  });
});

function write(name, text) {
  mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
  writeFileSync(path.join(root, name), text);
}
