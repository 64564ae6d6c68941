export * from "./cluster.ts";
export * from "./device-profile.ts";
