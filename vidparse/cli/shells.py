"""Shells: the script that lets each complete our command lines, and the place where it reads it.

A script hands the words of the line over in COMP_WORDS, one per line, and the number of the one
under the cursor in COMP_CWORD; `vidparse.cli.completion` answers.
"""

from __future__ import annotations

import os
from pathlib import Path

from vidparse.errors import OutputError, UsageError

_BASH = """\
_vidparse_completion() {
    local IFS=$'\\n'
    COMPREPLY=( $( env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" \\
        _VIDPARSE_COMPLETE=complete_bash "$1" 2>/dev/null ) )
}
complete -o default -F _vidparse_completion vidparse
"""
_ZSH = """\
#compdef vidparse
_vidparse_completion() {
    local -a found
    found=("${(@f)$(env COMP_WORDS="${(F)words[1,CURRENT]}" COMP_CWORD=$((CURRENT - 1)) \\
        _VIDPARSE_COMPLETE=complete_zsh "${words[1]}" 2>/dev/null)}")
    if [[ -n "${found[1]}" ]]; then
        _describe 'vidparse' found
    else
        _files
    fi
}
compdef _vidparse_completion vidparse
"""
_FISH = """\
function __vidparse_completion
    set -lx COMP_WORDS (string join \\n -- (commandline -opc) (commandline -ct) | string collect)
    set -lx COMP_CWORD (count (commandline -opc))
    set -lx _VIDPARSE_COMPLETE complete_fish
    vidparse 2>/dev/null
end
complete --command vidparse --arguments '(__vidparse_completion)'
"""
_POWERSHELL = """\
Register-ArgumentCompleter -Native -CommandName vidparse -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $words = @($commandAst.CommandElements | ForEach-Object { $_.ToString() })
    if ($wordToComplete -eq '') { $words += '' }
    $Env:COMP_WORDS = $words -join "`n"
    $Env:COMP_CWORD = $words.Count - 1
    $Env:_VIDPARSE_COMPLETE = 'complete_powershell'
    vidparse | ForEach-Object {
        $word, $about = $_ -split "`t", 2
        if (-not $about) { $about = $word }
        [System.Management.Automation.CompletionResult]::new($word, $word, 'ParameterValue', $about)
    }
    Remove-Item Env:COMP_WORDS, Env:COMP_CWORD, Env:_VIDPARSE_COMPLETE
}
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH, "powershell": _POWERSHELL}

# Shell -> below the home folder: the file of its script, the file that is read at its start, and
# the line there that reads the script.
_PLACES = {
    "bash": (".bash_completions/vidparse.sh", ".bashrc", "source ~/.bash_completions/vidparse.sh"),
    "zsh": (".zfunc/_vidparse", ".zshrc", "fpath+=~/.zfunc; autoload -Uz compinit; compinit"),
    "fish": (".config/fish/completions/vidparse.fish", "", ""),
}
_OTHER_NAMES = {"pwsh": "powershell"}


def script(shell: str = "") -> str:
    """The script of a shell, by its name; "": of the one that we were called from.

    Raises:
        UsageError: there is none for it.
    """
    return SCRIPTS[_known(shell)].rstrip("\n")


def install(shell: str = "") -> str:
    """Write the script of a shell where it is read at its next start, and say so.

    Raises:
        UsageError: no script for this shell, or no such place. OutputError: it cannot be written.
    """
    shell = _known(shell)
    if shell not in _PLACES:
        raise UsageError(
            f"{shell}: its profile is at a place of its own; run "
            f"`vidparse --show-completion {shell} >> $PROFILE` there"
        )
    name, profile, line = _PLACES[shell]
    home = Path.home()

    try:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(SCRIPTS[shell], encoding="utf-8")
        if profile:
            at = home / profile
            before = at.read_text(encoding="utf-8") if at.is_file() else ""
            if line not in before.splitlines():
                with at.open("a", encoding="utf-8") as file:
                    file.write(f"\n{line}\n")
    except (OSError, UnicodeError) as error:
        raise OutputError(
            f"{shell} completion: cannot be written ({error}); see --show-completion {shell}"
        ) from error
    return f"{shell} completion installed in ~/{name}; it works in new terminals"


def _known(shell: str) -> str:
    """Raises: UsageError: a shell without a script."""
    wanted = shell or _calling_shell()
    wanted = _OTHER_NAMES.get(wanted, wanted)
    if wanted not in SCRIPTS:
        *names, last = SCRIPTS
        raise UsageError(f"shell '{wanted}': not known; name one of {', '.join(names)} or {last}")
    return wanted


def _calling_shell() -> str:
    """The nearest shell among the processes that called us; else that of the user's login."""
    number = os.getppid()
    for _ in range(8):
        try:
            status = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:  # not on this system
            break
        # The name stands in brackets, and may hold some; the parent's number follows the state.
        name, _, rest = status.partition("(")[2].rpartition(")")
        if _OTHER_NAMES.get(name, name) in SCRIPTS:
            return name
        number = int(rest.split()[1])
    return Path(os.environ.get("SHELL", "")).name
