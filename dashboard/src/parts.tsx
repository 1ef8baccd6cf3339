/** Small parts that several views use. */

import type { RunStatus } from "@aikirun/lib/protocol";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { CallError } from "./server.ts";

const tones: Record<RunStatus, string> = {
  scheduled: "text-idle bg-idle-soft",
  queued: "text-warn bg-warn-soft",
  running: "text-busy bg-busy-soft",
  paused: "text-idle bg-idle-soft",
  sleeping: "text-idle bg-idle-soft",
  awaiting_event: "text-idle bg-idle-soft",
  awaiting_retry: "text-warn bg-warn-soft",
  awaiting_child_workflow: "text-idle bg-idle-soft",
  stalled: "text-bad bg-bad-soft",
  completed: "text-good bg-good-soft",
  failed: "text-bad bg-bad-soft",
  cancelled: "text-idle bg-idle-soft",
};

/** The text of a status: `awaiting event`. */
function statusText(status: RunStatus): string {
  return status.replaceAll("_", " ").replace(" workflow", "");
}

export function StatusBadge({ status }: { status: RunStatus }): ReactNode {
  return (
    <span className={`inline-block rounded px-1.5 py-0.5 text-[12px] font-medium whitespace-nowrap ${tones[status]}`}>
      {statusText(status)}
    </span>
  );
}

interface ButtonProps {
  children: ReactNode;
  onClick?: () => void;
  tone?: "plain" | "accent" | "danger";
  type?: "button" | "submit";
  disabled?: boolean;
  title?: string;
}

const buttonClass =
  "rounded border px-2.5 py-1 text-[13px] font-medium whitespace-nowrap disabled:cursor-default disabled:opacity-50";

const buttonTones = {
  plain: "border-line-strong bg-panel hover:bg-hover text-text",
  accent: "border-accent bg-accent text-accent-text hover:opacity-90",
  danger: "border-bad text-bad bg-panel hover:bg-bad-soft",
};

export function Button({ children, tone = "plain", type = "button", ...rest }: ButtonProps): ReactNode {
  return (
    <button type={type} className={`${buttonClass} ${buttonTones[tone]}`} {...rest}>
      {children}
    </button>
  );
}

export const inputClass =
  "rounded border border-line-strong bg-panel px-2 py-1 text-[13px] text-text placeholder:text-muted min-w-0";

/** A text field whose value is used when the user presses Enter or leaves it. */
export function TextFilter({
  label,
  value,
  onChange,
  width = "w-36",
  focusKey = false,
}: {
  label: string;
  value: string;
  onChange: (value: string) => void;
  width?: string;
  focusKey?: boolean;
}): ReactNode {
  const [draft, setDraft] = useState(value);
  useEffect(() => setDraft(value), [value]);
  return (
    <input
      aria-label={label}
      placeholder={label}
      className={`${inputClass} ${width}`}
      value={draft}
      data-focus-key={focusKey ? "/" : undefined}
      onChange={(event) => setDraft(event.target.value)}
      onBlur={() => draft !== value && onChange(draft.trim())}
      onKeyDown={(event) => {
        if (event.key === "Enter") onChange(draft.trim());
        if (event.key === "Escape") event.currentTarget.blur();
      }}
    />
  );
}

/** Copies a text, and says for a moment whether it did. */
export function Copy({ text, what }: { text: string; what: string }): ReactNode {
  const [said, setSaid] = useState("");
  useEffect(() => {
    if (said === "") return;
    const timer = setTimeout(() => setSaid(""), 1_500);
    return () => clearTimeout(timer);
  }, [said]);
  return (
    <button
      type="button"
      className="rounded border border-line px-1 text-[11px] text-muted hover:bg-hover hover:text-text"
      aria-label={`Copy ${what}`}
      onClick={() =>
        copy(text).then(
          () => setSaid("copied"),
          () => setSaid("not permitted"),
        )
      }
    >
      <span aria-live="polite">{said === "" ? "copy" : said}</span>
    </button>
  );
}

/** Rejects if the browser does not permit it. */
async function copy(text: string): Promise<void> {
  // Over plain http, a browser has a clipboard only for pages of this machine.
  if (window.isSecureContext) return navigator.clipboard.writeText(text);
  const field = document.createElement("textarea");
  field.value = text;
  field.readOnly = true;
  // Below the body, a field cannot get the focus while a dialog is open.
  (document.querySelector("dialog[open]") ?? document.body).append(field);
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  if (!isCopied) throw new Error("The browser does not permit to copy.");
}

export function ErrorNote({ error }: { error: unknown }): ReactNode {
  const message = error instanceof Error ? error.message : String(error);
  const code = error instanceof CallError ? error.code : null;
  return (
    <div role="alert" className="rounded border border-bad bg-bad-soft px-3 py-2 text-bad">
      {code === null ? null : <span className="mr-2 font-mono text-[12px]">{code}</span>}
      {message}
    </div>
  );
}

export function Panel({
  title,
  children,
  extra,
}: {
  title: string;
  children: ReactNode;
  extra?: ReactNode;
}): ReactNode {
  return (
    <section className="rounded-lg border border-line bg-panel">
      <header className="flex items-center justify-between gap-2 border-b border-line px-3 py-2">
        <h2 className="text-[13px] font-semibold">{title}</h2>
        {extra}
      </header>
      <div className="p-3">{children}</div>
    </section>
  );
}

const dialogClass =
  "m-auto w-[min(36rem,calc(100vw-2rem))] rounded-lg border border-line-strong bg-panel p-0 text-text shadow-xl";

/** A modal dialog. Escape and a click outside of it close it. */
export function Modal({
  title,
  children,
  onClose,
}: {
  title: string;
  children: ReactNode;
  onClose: () => void;
}): ReactNode {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the browser closes a dialog with Escape.
    <dialog
      ref={dialog}
      aria-label={title}
      className={dialogClass}
      onClose={onClose}
      onClick={(event) => event.target === dialog.current && onClose()}
    >
      <div className="p-4">
        <h2 className="mb-3 text-[15px] font-semibold">{title}</h2>
        {children}
      </div>
    </dialog>
  );
}

export function Empty({ children }: { children: ReactNode }): ReactNode {
  return <p className="px-3 py-10 text-center text-muted">{children}</p>;
}
