import { useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { Button, ErrorNote, inputClass } from "./parts.tsx";
import { signIn } from "./server.ts";

export function SignIn(): ReactNode {
  const queries = useQueryClient();
  const [error, setError] = useState<unknown>(null);
  const submit = async (form: FormData) => {
    setError(null);
    try {
      await signIn(String(form.get("key") ?? "").trim());
      await queries.resetQueries();
    } catch (thrown) {
      setError(thrown);
    }
  };
  return (
    <form action={submit} className="mx-auto mt-16 max-w-sm rounded-lg border border-line bg-panel p-5">
      <h1 className="mb-1 text-[16px] font-semibold">Sign in</h1>
      <p className="mb-4 text-muted">
        This server needs an API key. The page keeps it in memory only: a reload forgets it. To create a key, use{" "}
        <code className="font-mono text-[12px]">aiki keys create</code>.
      </p>
      <label className="mb-3 block">
        <span className="mb-1 block text-[13px] font-medium">API key</span>
        <input name="key" type="password" autoComplete="off" required className={`${inputClass} w-full`} />
      </label>
      {error === null ? null : (
        <div className="mb-3">
          <ErrorNote error={error} />
        </div>
      )}
      <Button type="submit" tone="accent">
        Sign in
      </Button>
    </form>
  );
}
