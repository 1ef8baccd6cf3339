import { type CompletedCommand, type CompletedOption, stepsOf } from "./tree.ts";

/** A script for fish 3 or newer. */
export function fishScript(commands: readonly CompletedCommand[]): string {
  return `# Completion of aiki for fish:  aiki completion fish > ~/.config/fish/completions/aiki.fish
function __aiki_at
  set -l command ''
  set -l typed (commandline -opc)
  for word in $typed[2..-1]
    switch "$command $word"
      case ${stepsOf(commands).map(quoted).join(" ")}
        set command (string trim -- "$command $word")
    end
  end
  test "$command" = "$argv[1]"
end
complete -c aiki -f
${commands.flatMap(linesOf).join("\n")}
`;
}

function linesOf({ path, subcommands, options, choices, takesFile }: CompletedCommand): string[] {
  const start = `complete -c aiki -n ${quoted(`__aiki_at ${quoted(path.join(" "))}`)}`;
  return [
    ...subcommands.map(({ word, description }) => `${start} -a ${word} -d ${quoted(description)}`),
    ...(choices.length === 0 ? [] : [`${start} -a ${quoted(choices.join(" "))}`]),
    ...(takesFile ? [`${start} -F`] : []),
    ...options.map((option) => `${start} ${optionOf(option)}`),
  ];
}

function optionOf({ word, description, value }: CompletedOption): string {
  const follows =
    value.type === "none" ? "" : value.type === "text" ? " -x" : ` -x -a ${quoted(value.choices.join(" "))}`;
  return `-l ${word.replace(/^--/, "")} -d ${quoted(description)}${follows}`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
