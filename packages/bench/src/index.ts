export * from "./results/environment.ts";
export * from "./results/folder-lock.ts";
export * from "./results/trial-log.ts";
export * from "./statistics.ts";
export * from "./trial.ts";
export * from "./workspace.ts";
