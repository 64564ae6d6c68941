import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { glob } from "zx";

/** Folders in which each part includes files of itself and of the parts before it, in that order. */
export const nativeOrders = {
  "native/src": ["kernels", "layer", "reference", "inputs", "transport", "executor", "addon"],
  "native/src/kernels": ["vectors", "products", "tiles"],
  "native/src/executor": ["program", "threads", "memory", "tiles", "ops", "lanes"],
};

/** The forbidden includes of the native library: one line each, sorted; empty if there are none, or no library. */
export async function nativeViolations(root) {
  const violations = [];
  for (const [folder, order] of Object.entries(nativeOrders)) {
    if (!existsSync(path.join(root, folder))) continue;
    for (const file of await glob(`${folder}/*/**/*.{h,cpp,inc}`, { cwd: root })) {
      const place = order.indexOf(file.slice(folder.length + 1).split("/")[0]);
      for (const included of includesOf(path.join(root, file))) {
        const [part, ...inside] = included.split("/");
        if (inside.length > 0 && order.indexOf(part) > place && existsSync(path.join(root, folder, included)))
          violations.push(`${file} includes ${included}: parts of ${folder} include only those before them`);
      }
    }
  }
  return violations.sort();
}

const includesOf = (file) =>
  [...readFileSync(file, "utf8").matchAll(/^#include "([^"]+)"/gm)].map(([, included]) => included);
