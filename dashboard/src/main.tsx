import "./style.css";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Router } from "wouter";
import { App } from "./app.tsx";
import { CallError } from "./server.ts";

const client = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 1_000,
      // What the server refused will be refused again.
      retry: (count, error) => count < 3 && !(error instanceof CallError && error.status >= 400 && error.status < 500),
      refetchOnWindowFocus: true,
    },
  },
});

/** Where a proxy serves the page, such as `/x/y`; empty for the root. */
const base = new URL(document.baseURI).pathname.replace(/\/$/, "");
// Without the proxy, the server answers at the root too. All links of the page are below the base path.
if (!`${location.pathname}/`.startsWith(`${base}/`)) {
  history.replaceState(null, "", base + location.pathname + location.search);
}

const root = document.getElementById("root");
if (root === null) throw new Error("The page has no element for the dashboard.");
createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={client}>
      <Router base={base}>
        <App />
      </Router>
    </QueryClientProvider>
  </StrictMode>,
);
