export * from "./cluster.ts";
export * from "./cluster-file.ts";
export * from "./device-profile.ts";
export * from "./device-timing.ts";
export * from "./presets.ts";
