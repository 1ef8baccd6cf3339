import type { Failure } from "@aikirun/lib/protocol";
import type { ReactNode } from "react";
import { Payload } from "../payload.tsx";
import { failureText } from "./facts.ts";

/** An error with its stack, its causes and its details. */
export function FailureText({ failure }: { failure: Failure }): ReactNode {
  const { code, stack, cause, errors = [], omittedErrors = 0, details } = failure;
  return (
    <div className="grid gap-2">
      <p className="font-medium break-words text-bad">
        {failureText(failure)} {code === undefined ? null : <span className="font-mono text-[12px]">({code})</span>}
      </p>
      {stack === undefined ? null : (
        <section tabIndex={0} aria-label="Stack" className="max-h-64 overflow-auto rounded bg-page p-2">
          <pre className="font-mono text-[12px]">{stack}</pre>
        </section>
      )}
      {details === undefined ? null : <Payload json={details} what="details of the error" />}
      {[...(cause === undefined ? [] : [cause]), ...errors].map((inner, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the causes of an error do not change.
        <div key={index} className="border-l-2 border-line-strong pl-3">
          <p className="text-[12px] text-muted">{cause === inner ? "Caused by" : "One of its errors"}</p>
          <FailureText failure={inner} />
        </div>
      ))}
      {omittedErrors === 0 ? null : <p className="text-muted">{omittedErrors} more errors are not recorded.</p>}
    </div>
  );
}
