export * from "./hsap.ts";
