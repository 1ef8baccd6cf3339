import { type CompletedCommand, type CompletedWord, stepsOf } from "./tree.ts";

/** A script for zsh, to be sourced or to be a file \`_aiki\` in a folder of \`fpath\`. */
export function zshScript(commands: readonly CompletedCommand[]): string {
  return `#compdef aiki
# Completion of aiki for zsh. Add to ~/.zshrc, after compinit:  source <(aiki completion zsh)
_aiki() {
  local command="" word previous="\${words[CURRENT-1]}"
  local -a subcommands options
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "$command $word" in
      ${stepsOf(commands).map(quoted).join("|")})
        command="\${command:+$command }$word" ;;
    esac
  done
  case "$command" in
${commands.map(branch).join("\n")}
  esac
}
if [[ "\${funcstack[1]}" == _aiki ]]; then
  _aiki "$@"
else
  compdef _aiki aiki
fi
`;
}

function branch({ path, subcommands, options, choices, takesFile }: CompletedCommand): string {
  const values = options.flatMap(({ word, value }) => {
    if (value.type === "none") return [];
    const words = value.type === "choices" ? ` compadd -- ${value.choices.join(" ")};` : "";
    return [`        ${word})${words} return ;;`];
  });
  const lines = [
    ...(values.length === 0 ? [] : ['case "$previous" in', ...values.map((line) => line.slice(6)), "esac"]),
    ...(subcommands.length === 0 ? [] : [`subcommands=(${subcommands.map(described).join(" ")})`]),
    `options=(${options.map(described).join(" ")})`,
    'if [[ "$PREFIX" == -* ]]; then _describe -o option options; return; fi',
    ...(subcommands.length === 0 ? [] : ["_describe command subcommands"]),
    ...(choices.length === 0 ? [] : [`compadd -- ${choices.join(" ")}`]),
    ...(takesFile ? ["_files"] : []),
  ];
  return `    ${quoted(path.join(" "))})\n${lines.map((line) => `      ${line}`).join("\n")} ;;`;
}

function described({ word, description }: CompletedWord): string {
  return quoted(`${word}:${description.replaceAll(":", "\\:")}`);
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
