r"""Bytes, as they come, to complete lines: whatever ends them, and however long they are, memory is bounded.

12.3,0.1\r\n12.4,0.   ->   12.3,0.1\n            and the rest waits for its end
...,0.3\0\0\0\0\0     ->   ...,0.3\n             where the power was cut, a file may end in zeros
"""

from __future__ import annotations

import re

from runtime.errors import InputError

MAX_LINE_BYTES = 1 << 20
_MARK = b"\xef\xbb\xbf"  # UTF-8's byte order mark, which spreadsheets write
_ZEROS = re.compile(rb"\0+")


class Lines:
    """Cuts bytes into lines that end in LF; of one that never ends only the beginning is given."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []  # pieces of a line whose end has not come
        self._held = 0  # bytes in them
        self._skips = False  # what comes belongs to a line that was given up
        self._cut = False  # the last byte was a CR: an LF that follows is of the same end
        self._begun = False

    def push(self, data: bytes) -> bytes:
        """The lines that are complete now, one after the other, each with its end."""
        if not self._begun and data:
            data, self._begun = data.removeprefix(_MARK), True
        data = self._with_one_end(data)
        if self._skips:
            _, end, data = data.partition(b"\n")
            self._skips = not end
        at = data.rfind(b"\n") + 1
        complete = b"".join((*self._rest, data[:at])) if at else b""
        if at:
            self._rest, self._held = [], 0
        self._rest.append(data[at:])
        self._held += len(data) - at
        if self._held > MAX_LINE_BYTES:
            self._skips = True
            complete += self.flush()
        return complete

    def flush(self) -> bytes:
        """The last line, if it has no end; it is given one."""
        rest, self._rest, self._held = b"".join(self._rest), [], 0
        return rest + b"\n" if rest else b""

    def _with_one_end(self, data: bytes) -> bytes:
        """CR LF, CR and runs of zeros as LF."""
        if self._cut and data:
            data, self._cut = data.removeprefix(b"\n"), False
        if b"\r" in data:
            self._cut = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return _ZEROS.sub(b"\n", data) if b"\0" in data else data


def refuse_utf16(head: bytes, where: object) -> None:
    """Refuse text in UTF-16 or UTF-32, of which half the bytes are zero.

    Args:
        head: the first bytes of the text, 4 or more.
        where: for the message.

    Raises:
        InputError: it is.
    """
    if head[:2] in (b"\xff\xfe", b"\xfe\xff") or (head[:4].count(0) >= 2 and any(head[:4])):
        raise InputError(
            where,
            expected="text in UTF-8",
            got="UTF-16 or UTF-32",
            fix="Save it as UTF-8 (in a spreadsheet: CSV UTF-8).",
        )
