import { type CompletedCommand, stepsOf } from "./tree.ts";

/** A script for bash 3.2 or newer. */
export function bashScript(commands: readonly CompletedCommand[]): string {
  return `# Completion of aiki for bash. Add to ~/.bashrc:  source <(aiki completion bash)
_aiki() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" command="" word words="" files=""
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$command $word" in
      ${stepsOf(commands)
        .map((step) => `"${step}"`)
        .join("|")})
        command="\${command:+$command }$word" ;;
    esac
  done
  case "$command" in
${commands.map(branch).join("\n")}
  esac
  local IFS=$'\\n'
  COMPREPLY=($(IFS=' ' compgen -W "$words" -- "$current"))
  if [[ -n "$files" && "$current" != -* ]]; then
    compopt -o filenames 2>/dev/null
    COMPREPLY+=($(compgen -f -- "$current"))
  fi
}
complete -F _aiki aiki
`;
}

function branch({ path, subcommands, options, choices, takesFile }: CompletedCommand): string {
  const values = options.flatMap(({ word, value }) => {
    if (value.type === "none") return [];
    const words = value.type === "choices" ? ` words="${value.choices.join(" ")}"` : "";
    return [`        ${word})${words} ;;`];
  });
  const words = [...subcommands, ...options].map(({ word }) => word);
  return `    "${path.join(" ")}")
      case "$previous" in
${[...values, `        *) words="${[...choices, ...words].join(" ")}"${takesFile ? " files=1" : ""} ;;`].join("\n")}
      esac ;;`;
}
