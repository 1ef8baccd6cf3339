import { lazy, type ReactNode, Suspense } from "react";
import { Link, Route, Switch, useLocation } from "wouter";
import { FailedView } from "./failed-view.tsx";
import { HelpKeys } from "./keys.tsx";
import { useKept, useParam } from "./params.ts";
import { Button, Empty } from "./parts.tsx";
import { RunsPage } from "./runs/page.tsx";
import { signOut, useKeyNeeded, useSignedIn } from "./server.ts";
import { SignIn } from "./sign-in.tsx";
import { useZone } from "./time.tsx";

const RunPage = lazy(() => import("./run/page.tsx"));
const WorkersPage = lazy(() => import("./workers-page.tsx"));

export function App(): ReactNode {
  const isKeyNeeded = useKeyNeeded();
  return (
    <div className="flex min-h-screen flex-col">
      <TopBar />
      <main className="mx-auto w-full max-w-[1400px] flex-1 px-4 py-4">{isKeyNeeded ? <SignIn /> : <Pages />}</main>
    </div>
  );
}

function Pages(): ReactNode {
  const [location] = useLocation();
  return (
    <FailedView key={location}>
      <Suspense fallback={<Empty>Loading…</Empty>}>
        <Switch>
          <Route path="/">
            <RunsPage />
          </Route>
          <Route path="/runs/:id">{({ id }) => <RunPage key={id} id={id} />}</Route>
          <Route path="/workers">
            <WorkersPage />
          </Route>
          <Route>
            <Empty>There is no such page.</Empty>
          </Route>
        </Switch>
      </Suspense>
    </FailedView>
  );
}

function TopBar(): ReactNode {
  const kept = useKept();
  const isSignedIn = useSignedIn();
  return (
    <header className="sticky top-0 z-10 border-b border-line bg-panel">
      <div className="mx-auto flex max-w-[1400px] flex-wrap items-center gap-x-4 gap-y-1 px-4 py-2">
        <Link href={`/${kept}`} className="text-[15px] font-bold tracking-tight text-accent">
          Aiki
        </Link>
        <nav aria-label="Views" className="flex gap-1">
          <NavLink path="/" to={`/${kept}`}>
            Runs
          </NavLink>
          <NavLink path="/workers" to={`/workers${kept}`}>
            Workers
          </NavLink>
        </nav>
        <div className="ml-auto flex items-center gap-2">
          <ZoneSwitch />
          <HelpKeys />
          {isSignedIn ? <Button onClick={signOut}>Sign out</Button> : null}
        </div>
      </div>
    </header>
  );
}

const currentClass = "bg-selected text-text";
const otherClass = "text-muted hover:bg-hover hover:text-text";

function NavLink({ path, to, children }: { path: string; to: string; children: ReactNode }): ReactNode {
  const [location] = useLocation();
  const isCurrent = location === path || (path === "/" && location.startsWith("/runs"));
  return (
    <Link
      href={to}
      aria-current={isCurrent ? "page" : undefined}
      className={`rounded px-2 py-1 text-[13px] font-medium ${isCurrent ? currentClass : otherClass}`}
    >
      {children}
    </Link>
  );
}

function ZoneSwitch(): ReactNode {
  const zone = useZone();
  const [, setZone] = useParam("zone");
  return (
    <Button title="The time zone of all times" onClick={() => setZone(zone === "utc" ? "" : "utc", true)}>
      {zone === "utc" ? "UTC" : "Local time"}
    </Button>
  );
}
