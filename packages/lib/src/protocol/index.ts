export * from "./api.ts";
export * from "./entry.ts";
export * from "./lookup.ts";
export * from "./messages.ts";
export * from "./queue.ts";
export * from "./run.ts";
export * from "./scopes.ts";
