"""Commands in forks of one process that has imported what is slow: many of them for the price of one start.

Each is a process of its own with its own folder, output and exit code. What a start itself does, such as what it
imports, is not seen so.
"""

import os
import select
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

_PATIENCE_S = 600.0  # only a failure waits for it
_SERVER = """
import os, runpy, sys
import {imports}
{first}
for line in sys.stdin.buffer:
    folder, out, *words = (os.fsdecode(bytes.fromhex(part)) for part in line.decode().split())
    child = os.fork()
    if not child:
        os.chdir(folder)
        for number, name in ((0, os.devnull), (1, out + "/stdout"), (2, out + "/stderr")):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
        sys.argv = ["", *words[1:]]
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        sys.exit()
    os.write(int(sys.argv[1]), b"%d\\n" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


class Said(NamedTuple):
    returncode: int
    stdout: bytes
    stderr: bytes


class Forks:
    """`with Forks("numpy", env) as forks: forks.run(folder, out, "sdk.stream", "--help")`; out is where output goes.

    `first` is a line of Python that runs before all forks.
    """

    def __init__(self, imports: str, env: dict[str, str], first: str = "") -> None:
        reader, writer = os.pipe()
        program = _SERVER.replace("{imports}", imports).replace("{first}", first)
        command = [sys.executable, "-c", program, str(writer)]
        self._server = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[writer], env=env)
        os.close(writer)
        self._codes = os.fdopen(reader)

    def __enter__(self) -> "Forks":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._server.stdin.close()
        self._server.wait()
        self._codes.close()

    def run(self, folder: Path, out: Path, module: str, *arguments: object) -> Said:
        """`python -m MODULE ARGUMENTS` in a folder, to its end."""
        words = [os.fsencode(str(word)).hex() for word in (folder, out, module, *arguments)]
        self._server.stdin.write(f"{' '.join(words)}\n".encode())
        self._server.stdin.flush()
        assert select.select([self._codes], [], [], _PATIENCE_S)[0], "it does not end"
        code = int(self._codes.readline())
        return Said(code, *((out / name).read_bytes() for name in ("stdout", "stderr")))
