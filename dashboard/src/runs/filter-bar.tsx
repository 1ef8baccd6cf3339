import { type RunStatus, runStatuses } from "@aikirun/lib/protocol";
import { type ReactNode, useId } from "react";
import { Link, useSearchParams } from "wouter";
import { useKept, useParam } from "../params.ts";
import { Button, inputClass, StatusBadge, TextFilter } from "../parts.tsx";
import { useZone, type Zone } from "../time.tsx";
import { isFiltered, statusesOf, textFilters, timeOf } from "./filters.ts";

export function FilterBar(): ReactNode {
  const [params, setParams] = useSearchParams();
  const [order, setOrder] = useParam("order");
  return (
    <search aria-label="Filters" className="grid grid-cols-2 items-center gap-2 sm:flex sm:flex-wrap">
      <StatusFilter />
      {textFilters.map(([name, label], index) => (
        <OneText key={name} name={name} label={label} isFirst={index === 0} />
      ))}
      <TimeFilter name="from" label="Created from" />
      <TimeFilter name="to" label="Created before" />
      <select
        aria-label="Order"
        className={inputClass}
        value={order === "oldest" ? "oldest" : "newest"}
        onChange={(event) => setOrder(event.target.value === "oldest" ? "oldest" : "")}
      >
        <option value="newest">Newest first</option>
        <option value="oldest">Oldest first</option>
      </select>
      {params.has("parentId") ? <ParentFilter /> : null}
      {isFiltered(params) ? (
        <Button onClick={() => setParams((before) => zoneOf(before))}>Remove all filters</Button>
      ) : null}
    </search>
  );
}

function zoneOf(params: URLSearchParams): URLSearchParams {
  const zone = params.get("zone");
  return new URLSearchParams(zone === null ? {} : { zone });
}

function OneText({ name, label, isFirst }: { name: string; label: string; isFirst: boolean }): ReactNode {
  const [value, setValue] = useParam(name);
  return <TextFilter label={label} value={value} onChange={setValue} width="sm:w-28" focusKey={isFirst} />;
}

/** The run whose children are listed. */
function ParentFilter(): ReactNode {
  const [parentId, setParentId] = useParam("parentId");
  const kept = useKept();
  return (
    <span className={`${inputClass} col-span-2 flex flex-wrap items-center gap-x-2`}>
      Children of
      <Link href={`/runs/${parentId}${kept}`} className="font-mono text-[12px] text-accent hover:underline">
        {parentId}
      </Link>
      <button type="button" aria-label="Remove this filter" className="px-1" onClick={() => setParentId("")}>
        ×
      </button>
    </span>
  );
}

/** A menu of check boxes. */
function StatusFilter(): ReactNode {
  const [params] = useSearchParams();
  const [, setStatus] = useParam("status");
  const chosen = statusesOf(params);
  const toggle = (status: RunStatus) => {
    const next = chosen.includes(status) ? chosen.filter((one) => one !== status) : [...chosen, status];
    setStatus(next.join(","));
  };
  const id = useId();
  return (
    <div>
      <button
        type="button"
        popoverTarget={id}
        className={`status-button ${inputClass} flex items-center gap-1 font-medium hover:bg-hover`}
      >
        {chosen.length === 0 ? "Any status" : chosen.length === 1 ? null : `${chosen.length} statuses`}
        {chosen.length === 1 && chosen[0] !== undefined ? <StatusBadge status={chosen[0]} /> : null}
        <span aria-hidden="true">▾</span>
      </button>
      <div
        id={id}
        popover="auto"
        className="status-menu m-auto rounded-lg border border-line-strong bg-panel p-2 text-text shadow-xl"
      >
        <fieldset className="grid grid-cols-2 gap-x-4 gap-y-1">
          <legend className="sr-only">Statuses</legend>
          {runStatuses.map((status) => (
            <label key={status} className="flex items-center gap-2 rounded px-1 py-0.5 hover:bg-hover">
              <input type="checkbox" checked={chosen.includes(status)} onChange={() => toggle(status)} />
              <StatusBadge status={status} />
            </label>
          ))}
        </fieldset>
      </div>
    </div>
  );
}

/** A time that the user writes in the chosen zone; the URL has it in UTC. */
function TimeFilter({ name, label }: { name: string; label: string }): ReactNode {
  const zone = useZone();
  const [value, setValue] = useParam(name);
  const at = timeOf(value);
  return (
    <label className="flex flex-col gap-x-1 text-[12px] text-muted sm:flex-row sm:items-center">
      {label}
      <input
        type="datetime-local"
        className={inputClass}
        value={at === null ? "" : fieldText(at, zone)}
        onChange={(event) => setValue(urlText(event.target.value, zone))}
      />
    </label>
  );
}

function fieldText(at: number, zone: Zone): string {
  const shifted = zone === "utc" ? at : at - new Date(at).getTimezoneOffset() * 60_000;
  return new Date(shifted).toISOString().slice(0, 16);
}

function urlText(text: string, zone: Zone): string {
  const at = Date.parse(zone === "utc" ? `${text}Z` : text);
  return Number.isNaN(at) ? "" : new Date(at).toISOString();
}
