/** The state of a view is in the URL, so that a reload, the back button and a pasted link show the same view. */

import { useCallback, useEffect } from "react";
import { useSearchParams } from "wouter";

/** One parameter of the URL, empty if it is absent. Setting an empty text removes it. */
export function useParam(name: string): [string, (value: string, replace?: boolean) => void] {
  const [params, setParams] = useSearchParams();
  const set = useCallback(
    (value: string, replace = false) => {
      setParams(
        (before) => {
          const next = new URLSearchParams(before);
          if (value === "") next.delete(name);
          else next.set(name, value);
          return next;
        },
        { replace },
      );
    },
    [name, setParams],
  );
  return [params.get(name) ?? "", set];
}

let listSearch: string | null = null;

/** Remembers the filters of the list, so that a key leads from a run back to the same list. */
export function useRememberedList(): void {
  const [params] = useSearchParams();
  const search = params.toString();
  useEffect(() => {
    listSearch = search === "" ? "" : `?${search}`;
  }, [search]);
}

/** The filters that the list had last. Null if this page has not shown the list yet. */
export function lastListSearch(): string | null {
  return listSearch;
}

/** The parameters that every link keeps. */
export function useKept(): string {
  const [params] = useSearchParams();
  const zone = params.get("zone");
  return zone === null ? "" : `?zone=${zone}`;
}
