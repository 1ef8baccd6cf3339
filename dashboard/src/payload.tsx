/** JSON texts of runs. They are shown as text only. */

import { type ReactNode, useMemo } from "react";
import { indented } from "./json-text.ts";
import { Button, Copy } from "./parts.tsx";

/** More characters of a payload are not shown, but can be downloaded. */
const shownCharacters = 65_536;

interface PayloadProps {
  /** The JSON text; undefined for the value `undefined`. */
  json: string | undefined;
  /** What it is, for labels and for the name of the file: `input`. */
  what: string;
}

export function Payload({ json, what }: PayloadProps): ReactNode {
  const shown = useMemo(() => (json === undefined ? "" : shownText(json)), [json]);
  if (json === undefined) return <p className="text-muted">undefined</p>;
  const isCut = json.length > shownCharacters;
  return (
    <div>
      <section tabIndex={0} aria-label={what} className="max-h-96 overflow-auto rounded bg-page p-2">
        <pre className="font-mono text-[12px] whitespace-pre-wrap break-all">{shown}</pre>
      </section>
      <p className="mt-1 flex items-center gap-2 text-[12px] text-muted">
        <Copy text={json} what={what} />
        {isCut ? <Button onClick={() => download(json, what)}>Download</Button> : null}
        {isCut ? `The first 64 KB of ${Math.ceil(json.length / 1_024)} KB are shown.` : null}
      </p>
    </div>
  );
}

function shownText(json: string): string {
  if (json.length > shownCharacters) return json.slice(0, shownCharacters);
  return indented(json, 4 * shownCharacters);
}

function download(text: string, what: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = `${what.replaceAll(/[^\w-]+/g, "-")}.json`;
  link.click();
  URL.revokeObjectURL(url);
}
