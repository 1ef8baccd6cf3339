/** The first whole number in a JSON text that parsing changes, such as `12345678901234567890`. */
export function inexactIntegerIn(json: string): string | undefined {
  const withoutStrings = json.replace(/"(?:[^"\\]|\\.)*"/g, '""');
  const integers = withoutStrings.match(/(?<![\d.eE+-])-?\d+(?![\d.eE])/g) ?? [];
  return integers.find((digits) => {
    const value = Number(digits);
    return !Number.isSafeInteger(value) && (!Number.isFinite(value) || BigInt(value) !== BigInt(digits));
  });
}
