"""Shell completion for bash and zsh: `source <(sweeps completion bash)`.

It replaces click's scripts, which add a space after `model.activation=` and, in bash, repeat
the part before the `=`.
"""

import os
from typing import ClassVar

import click
from click.shell_completion import (
    CompletionItem,
    ShellComplete,
    add_completion_class,
    split_arg_string,
)

from sweeps.cli.group import cli

COMMAND, VARIABLE = "sweeps", "_SWEEPS_COMPLETE"


class _LineCompletion(ShellComplete):
    """Completion from the whole line up to the cursor, which the script passes unchanged."""

    incomplete = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The complete words, and the incomplete last one."""
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)[1:]
        if words and not line[-1].isspace():
            self.incomplete = words.pop()
        return words, self.incomplete


class _Bash(_LineCompletion):
    name: ClassVar[str] = "bash"
    source_template: ClassVar[str] = """\
%(complete_func)s() {
    local IFS=$'\\n' line
    COMPREPLY=()
    for line in $(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" BREAKS="$COMP_WORDBREAKS" \\
        %(complete_var)s=bash_complete "$1"); do
        case "$line" in
            plain,*[=.]) compopt -o nospace 2> /dev/null; COMPREPLY+=("${line#*,}") ;;
            plain,*) COMPREPLY+=("${line#*,}") ;;
            dir,*) compopt -o dirnames 2> /dev/null ;;
            file,*) compopt -o default 2> /dev/null ;;
        esac
    done
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

    def format_completion(self, item: CompletionItem[str]) -> str:
        """Format an item without the part before the last character that splits words in bash."""
        breaks = [c for c in "=:" if c in os.environ.get("BREAKS", "=:")]
        start = max((self.incomplete.rfind(c) + 1 for c in breaks), default=0)
        return f"{item.type},{item.value[start:] if item.type == 'plain' else item.value}"


class _Zsh(_LineCompletion):
    name: ClassVar[str] = "zsh"
    source_template: ClassVar[str] = """\
#compdef %(prog_name)s
%(complete_func)s() {
    local -a lines open openly closed closely
    local kind word help
    lines=("${(@f)$(env COMP_LINE="${(j: :)words[1,CURRENT]}" \\
        %(complete_var)s=zsh_complete $words[1])}")
    for kind word help in "${lines[@]}"; do
        case "$kind $word" in
            plain*[=.]) open+=("$word"); openly+=("$word  $help") ;;
            plain*) closed+=("$word"); closely+=("$word  $help") ;;
            dir*) compset -P '*='; _path_files -/ ;;
            file*) compset -P '*='; _path_files -f ;;
        esac
    done
    (( $#open )) && compadd -U -V keys -S '' -l -d openly -a open
    (( $#closed )) && compadd -U -V words -l -d closely -a closed
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""

    def format_completion(self, item: CompletionItem[str]) -> str:
        """Kind, word and help text, each on its own line."""
        return f"{item.type}\n{item.value}\n{item.help or ' '}"


SHELLS = {shell.name: add_completion_class(shell) for shell in (_Bash, _Zsh)}


@cli.command()
@click.argument("shell", type=click.Choice(list(SHELLS)))
def completion(shell: str) -> None:
    """Print a script for tab completion in a shell.

    It completes commands, options, keys, values, and names of sweeps and trials.

    For bash, in ~/.bashrc: `source <(sweeps completion bash)`. For zsh, in ~/.zshrc after
    compinit: `source <(sweeps completion zsh)`.
    """
    click.echo(SHELLS[shell](cli, {}, COMMAND, VARIABLE).source(), nl=False)
