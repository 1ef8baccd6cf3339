/** What TypeScript cannot follow: a value that went through JSON, or a handler kept beside handlers of other types. */
export function uncheckedCast<Type>(value: unknown): Type {
  return value as Type;
}
