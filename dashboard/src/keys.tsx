/** Keyboard: `j` and `k` move, `Enter` opens, `/` goes to the first filter, `?` lists the keys. */

import { type ReactNode, useEffect, useRef, useState } from "react";
import { Button, Modal } from "./parts.tsx";

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.closest("input, textarea, select, dialog, [contenteditable]") !== null;
}

/** Calls the handler of a key that is pressed while the user does not type a text. */
export function useKeys(handlers: Readonly<Record<string, () => void>>): void {
  const latest = useRef(handlers);
  latest.current = handlers;
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
      const handler = latest.current[event.key];
      if (handler === undefined) return;
      // Enter on a link or a button does what that one does.
      if (event.key === "Enter" && event.target instanceof Element && event.target.closest("a, button") !== null)
        return;
      event.preventDefault();
      handler();
    };
    document.addEventListener("keydown", press);
    return () => document.removeEventListener("keydown", press);
  }, []);
}

const keys: ReadonlyArray<[key: string, meaning: string]> = [
  ["j", "the next row"],
  ["k", "the previous row"],
  ["Enter", "open the selected row"],
  ["/", "go to the filters"],
  ["u", "from a run to the list of runs"],
  ["Esc", "close a dialog"],
  ["?", "this list"],
];

export function HelpKeys(): ReactNode {
  const [isOpen, setOpen] = useState(false);
  useKeys({
    "?": () => setOpen(true),
    "/": () => document.querySelector<HTMLElement>('[data-focus-key="/"]')?.focus(),
  });
  return (
    <>
      <Button title="Keyboard" onClick={() => setOpen(true)}>
        ?
      </Button>
      {isOpen ? (
        <Modal title="Keyboard" onClose={() => setOpen(false)}>
          <dl className="grid grid-cols-[5rem_1fr] gap-y-1.5">
            {keys.map(([key, meaning]) => (
              <div key={key} className="contents">
                <dt>
                  <kbd className="rounded border border-line-strong px-1.5 font-mono text-[12px]">{key}</kbd>
                </dt>
                <dd>{meaning}</dd>
              </div>
            ))}
          </dl>
        </Modal>
      ) : null}
    </>
  );
}
