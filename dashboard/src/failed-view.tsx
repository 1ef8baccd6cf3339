import { Component, type ReactNode } from "react";
import { Button, Empty } from "./parts.tsx";

interface FailedViewProps {
  children: ReactNode;
}

/**
 * Shows a message if a view cannot be shown. The usual cause is that its code could not be loaded: the server is
 * another version than when the page was opened, or cannot be reached.
 */
export class FailedView extends Component<FailedViewProps, { error: unknown }> {
  override state: { error: unknown } = { error: null };

  static getDerivedStateFromError(error: unknown): { error: unknown } {
    return { error };
  }

  override render(): ReactNode {
    const { error } = this.state;
    if (error === null) return this.props.children;
    return (
      <div role="alert" className="text-center">
        <Empty>
          This view cannot be shown. The server may have been updated since this page was opened.
          <span className="mt-2 block font-mono text-[12px]">
            {error instanceof Error ? error.message : "Unknown error"}
          </span>
        </Empty>
        <Button tone="accent" onClick={() => location.reload()}>
          Reload
        </Button>
      </div>
    );
  }
}
