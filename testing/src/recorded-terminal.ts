/** The terminal of a command in a test: records what the command prints. */
export interface RecordedTerminal {
  /** Lines of the result and of notes. */
  readonly out: string[];
  /** Lines about errors. */
  readonly err: string[];
  /** Lines about progress; null where one was removed. */
  readonly shown: Array<string | null>;
  /** The questions that were asked. */
  readonly questions: string[];
  /** Implements `Terminal` of `@aikirun/cli`. */
  readonly terminal: ReturnType<typeof terminalOf>;
}

export interface RecordedTerminalOptions {
  /** Default 200. */
  width?: number;
  /** Whether the command prints to a terminal. Default false. */
  isInteractive?: boolean;
  /** The answers to questions, in order. Default: there is no terminal to ask on. */
  answers?: string[];
  /** Keys that are pressed as soon as the command takes the whole terminal. Default: none. */
  keys?: string[];
  /** Standard input. Default: empty. */
  input?: string;
}

export function recordedTerminal(options: RecordedTerminalOptions = {}): RecordedTerminal {
  const records = { out: [], err: [], shown: [], questions: [] };
  return { ...records, terminal: terminalOf(records, options) };
}

function terminalOf(
  { out, err, shown, questions }: Pick<RecordedTerminal, "out" | "err" | "shown" | "questions">,
  { width = 200, isInteractive = false, answers, keys = [], input = "" }: RecordedTerminalOptions,
) {
  return {
    out: (line: string) => void out.push(line),
    drained: async () => true,
    note: (line: string) => void out.push(line),
    err: (line: string) => void err.push(line),
    progress: (line: string | null) => void shown.push(line),
    screen: (onKey: (key: string) => void) => {
      for (const key of keys) onKey(key);
      return { draw: (lines: readonly string[]) => void out.push(...lines), close: () => {} };
    },
    ask: async (question: string) => {
      if (answers === undefined) return null;
      questions.push(question);
      return answers.shift() ?? null;
    },
    input: async () => input,
    paint: (_: string, text: string) => text,
    isInteractive,
    showsProgress: isInteractive,
    width,
    height: 24,
  };
}
