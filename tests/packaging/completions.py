"""Types into real shells, and sees what they complete.

usage: completions.py DIRECTORY-WITH-THE-COMPLETIONS
"""

import os
import pty
import re
import select
import subprocess
import sys

DIRECTORY = sys.argv[1]
PATIENCE = 30
# The shell says what it was given once it runs the line. The quotes keep what is typed from looking like what is said.
COMMAND = "wsecho() { printf 'g''iven:%s:\\n' \"$*\"; }\n"


class Shell:
    """An interactive shell on a terminal of its own."""

    def __init__(self, *command, **environment):
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execvpe(command[0], command, {'PATH': os.environ['PATH'], 'TERM': 'dumb', **environment})
        self.said = ''

    def types(self, text):
        os.write(self.terminal, text.encode())

    def says(self, pattern):
        """What the first group of `pattern` matches in what the shell says from here on."""
        while not (match := re.search(pattern, self.said)):
            if not select.select([self.terminal], [], [], PATIENCE)[0]:
                sys.exit(f'completions: the shell said {self.said!r}, and not {pattern}')
            try:
                self.said += os.read(self.terminal, 4096).decode(errors='replace')
            except OSError:
                sys.exit(f'completions: the shell ended after {self.said!r}')
        self.said = self.said[match.end():]
        return match[1]

    def given(self, typed):
        self.says('(ready>)')
        self.types(typed + '\n')
        return self.says(r'given:(.*):')

    def end(self):
        os.close(self.terminal)
        os.waitpid(self.pid, 0)


def check(name, got, expected):
    if got != expected:
        sys.exit(f'completions: {name}: {got!r}, not {expected!r}')


def write(name, text):
    path = os.path.join(DIRECTORY, name)
    with open(path, 'w') as file:
        file.write(text)
    return path


def bash():
    rc = write('bashrc', f"PS1='ready>'\n{COMMAND}. {DIRECTORY}/wsecho.bash\n")
    shell = Shell('bash', '--noprofile', '--rcfile', rc, '-i')
    check('bash', shell.given('wsecho --log-l\tde\t--no-d\t'), '--log-level debug --no-deflate')
    check('bash, after =', shell.given('wsecho --log-level=e\t--polic\tof\t'), '--log-level=error --policy off')
    check('bash, a file', shell.given(f'wsecho --tls-cert {DIRECTORY}/wsecho.ba\t--log-level=tr\t'),
          f'--tls-cert {DIRECTORY}/wsecho.bash --log-level=trace')
    check('bash, nothing to offer', shell.given('wsecho --max-message \t1'), '--max-message 1')
    shell.end()
    print('completions: bash: good')


def zsh():
    write('.zshrc', f"PS1='ready>'\nfpath=({DIRECTORY} $fpath)\nautoload -Uz compinit\ncompinit -u -d {DIRECTORY}/dump\n{COMMAND}")
    shell = Shell('zsh', '-i', ZDOTDIR=DIRECTORY)
    check('zsh', shell.given('wsecho --log-l\tde\t--no-d\t'), '--log-level=debug --no-deflate')
    check('zsh, after a space', shell.given('wsecho --policy of\t--listen a:1 --listen b:2 --prin\tma\t'),
          '--policy off --listen a:1 --listen b:2 --print=man')
    check('zsh, a file', shell.given(f'wsecho --tls-cert {DIRECTORY}/wsecho.ba\t'), f'--tls-cert {DIRECTORY}/wsecho.bash')
    shell.end()
    print('completions: zsh: good')


def fish():
    def offered(line):
        script = f'source {DIRECTORY}/wsecho.fish; complete -C "{line}"'
        answer = subprocess.run(['fish', '--no-config', '-c', script], capture_output=True, text=True, check=True)
        check('fish, complaints', answer.stderr, '')
        return [offer.split('\t') for offer in answer.stdout.splitlines()]

    check('fish', offered('wsecho --log-l'), [['--log-level', 'write this much to stderr']])
    check('fish, a value', offered('wsecho --log-level de'), [['debug', 'write this much to stderr']])
    check('fish, a file', offered(f'wsecho --tls-cert {DIRECTORY}/wsecho.ba'), [[f'{DIRECTORY}/wsecho.bash']])
    check('fish, nothing to offer', offered('wsecho --max-message '), [])
    print('completions: fish: good')


bash()
zsh()
fish()
