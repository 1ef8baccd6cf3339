/** A type that TypeScript cannot prove: a value parsed from JSON, or a handler stored with handlers of other types. */
export function uncheckedCast<Type>(value: unknown): Type {
  return value as Type;
}
