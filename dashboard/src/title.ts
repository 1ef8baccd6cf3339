import { useEffect } from "react";

/** Names the view in the title of the page, for the tabs and the history of the browser. */
export function useTitle(view: string): void {
  useEffect(() => {
    document.title = `${view} · Aiki`;
    return () => {
      document.title = "Aiki";
    };
  }, [view]);
}
