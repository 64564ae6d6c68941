import { cpus } from "node:os";
import { engineInfo } from "@hsap/engine";

/** The `#` lines that begin every table: versions, machine, arguments. Then `lines`, one `#` line each. */
export function tableHeader(version: string, ...lines: readonly string[]): string {
  const { isa, compiler } = engineInfo();
  const processors = cpus();
  const all = [
    `hsap ${version}, node ${process.version}, ${compiler}, kernels ${isa}`,
    `${processors[0]?.model.trim() ?? "unknown processor"}, ${processors.length} cores`,
    `arguments: ${process.argv.slice(2).join(" ") || "none"}`,
    ...lines,
  ];
  return `${all.map((line) => `# ${line}`.trimEnd()).join("\n")}\n`;
}
