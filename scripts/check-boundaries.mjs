/**
 * Checks that each package imports only what stands left of it, by its name, and only what its package.json declares; and that
 * parts of the native library include only those before them.
 *
 *     node scripts/check-boundaries.mjs [ROOT]
 *
 * Prints one line for each forbidden import and exits with 1 if there is one.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { cruise } from "dependency-cruiser";
import { nativeViolations } from "./checks/native-boundaries.mjs";

/** The packages in the order data travels: each may import those before it, and none after it. */
export const packageOrder = [
  "workload",
  "cluster",
  "schedule",
  "model",
  "baselines",
  "compiler",
  "engine",
  "simulator",
  "training",
  "bench",
  "figures",
  "cli",
];

/**
 * The forbidden imports among `ROOT/packages`: one line each, sorted; empty if there are none.
 *
 * @throws Error if there are no packages, or one has no place in the order.
 */
export async function boundaryViolations(root) {
  const names = packagesIn(root);
  const sources = names.flatMap((name) =>
    ["src", "test", "bin"]
      .map((part) => `packages/${name}/${part}`)
      .filter((part) => existsSync(path.join(root, part))),
  );
  const { output } = await cruise(sources, {
    baseDir: root,
    validate: true,
    ruleSet: { forbidden: names.flatMap((name) => rulesFor(name, names, declaredBy(root, name))) },
    tsPreCompilationDeps: true,
    combinedDependencies: false,
    doNotFollow: { path: ["node_modules", "/dist/"] },
    // Workspace packages resolve to their sources, as in the tests, so nothing has to be built first.
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["@hsap/source", "node", "import", "default", "types"],
      extensions: [".ts", ".mts", ".js", ".mjs", ".json"],
    },
  });
  return output.summary.violations.map(({ from, to, rule }) => `${from} imports ${to}: ${reasons[rule.name]}`).sort();
}

const reasons = {
  order: "packages import only what stands left of them",
  deep: "another package is imported by its name, not by a file inside it",
  undeclared: "the package.json does not declare it",
  unresolved: "there is no such module",
};

function rulesFor(name, names, declared) {
  const others = names.filter((other) => other !== name);
  const toRight = others.filter((other) => packageOrder.indexOf(other) > packageOrder.indexOf(name));
  const toLeft = others.filter((other) => !toRight.includes(other));
  const undeclared = toLeft.filter((other) => ![...declared.shipped, ...declared.tests].includes(`@hsap/${other}`));
  const onlyForTests = toLeft.filter((other) => !declared.shipped.includes(`@hsap/${other}`));
  const anywhere = { path: `^packages/${name}/` };
  const shipped = { path: `^packages/${name}/(src|bin)/` };
  return [
    { name: "order", from: anywhere, to: { path: insideAny(toRight) } },
    { name: "undeclared", from: anywhere, to: { path: insideAny(undeclared) } },
    {
      name: "undeclared",
      from: shipped,
      to: { path: insideAny(onlyForTests.filter((other) => !undeclared.includes(other))) },
    },
    { name: "undeclared", from: shipped, to: { dependencyTypes: ["npm-no-pkg", "npm-unknown", "npm-dev"] } },
    { name: "deep", from: anywhere, to: { path: insideAny(others), pathNot: "^packages/[^/]+/src/index\\.ts$" } },
    { name: "deep", from: anywhere, to: { path: insideAny(others), dependencyTypes: ["local"] } },
    { name: "unresolved", from: anywhere, to: { couldNotResolve: true } },
  ].map((rule) => ({ severity: "error", ...rule }));
}

/** A pattern that holds for files of the given packages, and for none if there are none. */
function insideAny(names) {
  return names.length > 0 ? `^packages/(${names.join("|")})/` : "^$";
}

function packagesIn(root) {
  const directory = path.join(root, "packages");
  const names = readdirSync(directory).filter((name) => existsSync(path.join(directory, name, "package.json")));
  if (names.length === 0) throw new Error(`no packages in ${directory}`);
  const unknown = names.filter((name) => !packageOrder.includes(name));
  if (unknown.length > 0) throw new Error(`package without a place in the order: ${unknown[0]} (see packageOrder)`);
  return names;
}

/** What a package declares for what it ships, and for its tests only. */
function declaredBy(root, name) {
  const { dependencies, peerDependencies, optionalDependencies, devDependencies } = JSON.parse(
    readFileSync(path.join(root, "packages", name, "package.json"), "utf8"),
  );
  return {
    shipped: Object.keys({ ...dependencies, ...peerDependencies, ...optionalDependencies }),
    tests: Object.keys(devDependencies ?? {}),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = path.resolve(process.argv[2] ?? path.join(import.meta.dirname, ".."));
  const violations = [...(await boundaryViolations(root)), ...(await nativeViolations(root))];
  for (const line of violations) console.log(line);
  console.log(
    violations.length === 0 ? "boundaries: no forbidden import" : `boundaries: ${violations.length} forbidden`,
  );
  process.exitCode = violations.length === 0 ? 0 : 1;
}
