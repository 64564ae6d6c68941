export * from "./document-lengths.ts";
export * from "./input-error.ts";
export * from "./packed-batch.ts";
export * from "./seeded-random.ts";
