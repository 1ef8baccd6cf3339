/** What a user can do to a run. Each action asks first. */

import { inexactIntegerIn, type RunView, type Signal } from "@aikirun/lib/protocol";
import { useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { useLocation } from "wouter";
import { newId } from "../id.ts";
import { useKept } from "../params.ts";
import { Button, ErrorNote, inputClass, Modal } from "../parts.tsx";
import { CallError, call } from "../server.ts";

type ActionName = Signal["type"];

const labels: Record<ActionName, string> = {
  cancel: "Cancel",
  pause: "Pause",
  resume: "Resume",
  wake: "Wake",
  retry: "Retry",
  event: "Send event",
};

const meanings: Record<ActionName, string> = {
  cancel: "The run ends at once, and so do its children. What it has done stays done.",
  pause: "The worker records what is in flight. Then the run stays where it is until somebody resumes it.",
  resume: "The run continues.",
  wake: "Open sleeps end now, and so do delays of a start and of retries.",
  retry:
    "A stalled run is queued again. A run that failed or was cancelled is started as a new run, which reuses the " +
    "results of what succeeded.",
  event: "The event reaches the oldest wait for its name, or is kept until the run waits for it.",
};

/** The actions that the server accepts in this status. */
function actionsOf({ status, waits }: RunView): ActionName[] {
  if (status === "completed") return [];
  if (status === "failed" || status === "cancelled") return ["retry"];
  const isAsleep = waits.some(({ type }) => type === "sleep");
  return [
    "event",
    ...(isAsleep || status === "scheduled" || status === "awaiting_retry" ? (["wake"] as const) : []),
    ...(status === "stalled" || status === "awaiting_retry" ? (["retry"] as const) : []),
    ...(status === "paused" ? (["resume"] as const) : status === "stalled" ? [] : (["pause"] as const)),
    "cancel",
  ];
}

export function Actions({ run }: { run: RunView }): ReactNode {
  const [open, setOpen] = useState<ActionName | null>(null);
  return (
    <div className="flex flex-wrap gap-2">
      {actionsOf(run).map((action) => (
        <Button key={action} tone={action === "cancel" ? "danger" : "plain"} onClick={() => setOpen(action)}>
          {labels[action]}
        </Button>
      ))}
      {open === null ? null : <ActionDialog run={run} action={open} onClose={() => setOpen(null)} />}
    </div>
  );
}

interface DialogProps {
  run: RunView;
  action: ActionName;
  onClose: () => void;
}

function ActionDialog({ run, action, onClose }: DialogProps): ReactNode {
  const queries = useQueryClient();
  const [, navigate] = useLocation();
  const kept = useKept();
  const [error, setError] = useState<unknown>(null);
  const submit = async (form: FormData) => {
    setError(null);
    try {
      const runId = await send(run, signalOf(action, form));
      await queries.invalidateQueries();
      onClose();
      if (runId !== run.id) navigate(`/runs/${runId}${kept}`);
    } catch (thrown) {
      setError(thrown);
    }
  };
  const takesReason = action === "cancel" || action === "pause";
  return (
    <Modal title={`${labels[action]}: ${run.name}`} onClose={onClose}>
      <form action={submit} className="grid gap-3">
        <p className="text-muted">{meanings[action]}</p>
        {takesReason ? <Labelled label="Reason, for the record" name="reason" /> : null}
        {action === "event" ? <EventFields run={run} /> : null}
        {error === null ? null : <ErrorNote error={error} />}
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>Close</Button>
          <Button type="submit" tone={action === "cancel" ? "danger" : "accent"}>
            {labels[action]}
          </Button>
        </div>
      </form>
    </Modal>
  );
}

function Labelled({
  label,
  name,
  ...rest
}: {
  label: string;
  name: string;
  required?: boolean;
  defaultValue?: string;
}): ReactNode {
  return (
    <label className="block">
      <span className="mb-1 block text-[13px] font-medium">{label}</span>
      <input name={name} maxLength={10_000} className={`${inputClass} w-full`} {...rest} />
    </label>
  );
}

function EventFields({ run }: { run: RunView }): ReactNode {
  const awaited = run.waits.find(({ type }) => type === "event")?.name ?? "";
  return (
    <>
      <Labelled label="Name of the event" name="name" required defaultValue={awaited} />
      <label className="block">
        <span className="mb-1 block text-[13px] font-medium">Data, as JSON (empty for none)</span>
        <textarea name="data" rows={5} className={`${inputClass} w-full font-mono`} />
      </label>
    </>
  );
}

function signalOf(action: ActionName, form: FormData): Signal {
  const text = (name: string): string => String(form.get(name) ?? "").trim();
  const reason = text("reason") === "" ? {} : { reason: text("reason") };
  switch (action) {
    case "cancel":
    case "pause":
      return { type: action, ...reason };
    case "resume":
    case "wake":
      return { type: action };
    case "retry":
      return { type: "retry", newRunId: newId() };
    case "event": {
      const data = text("data");
      if (data === "") return { type: "event", name: text("name") };
      return { type: "event", name: text("name"), data: checkedJson(data) };
    }
    default:
      return action satisfies never;
  }
}

function checkedJson(text: string): string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (thrown) {
    throw new Error(`The data is not JSON: ${thrown instanceof Error ? thrown.message : thrown}`);
  }
  const inexact = inexactIntegerIn(text);
  if (inexact === undefined) return JSON.stringify(value);
  const number = inexact.length > 60 ? `${inexact.slice(0, 60)}…` : inexact;
  throw new Error(`The data has the number ${number}, which JavaScript cannot hold exactly. Write it as a string.`);
}

/** Returns the id of the run that continues. Throws `CallError`. */
async function send(run: RunView, signal: Signal): Promise<string> {
  const { results } = await call("signal", { signals: [{ signalId: newId(), runId: run.id, signal }] });
  const [result] = results;
  if (result === undefined) throw new CallError(200, "BAD_REPLY", "The reply of the server has no result.");
  if (!result.ok) throw new CallError(400, result.code, result.message);
  return result.runId;
}
