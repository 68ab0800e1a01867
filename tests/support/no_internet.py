"""Run a program that the kernel kills when it opens an internet socket, from whatever code.

    python tests/support/no_internet.py PROGRAM ARGUMENT ...

A filter of the kernel (seccomp) looks at every socket(2) of the program, its threads and its
children: native libraries are seen as well as Python. It needs no rights and no tools.
"""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import struct
import sys

_NUMBERS = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}  # audit name, socket(2)
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF: load a word, jump if equal, return
_KILL, _ALLOW = 0x80000000, 0x7FFF0000
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16  # bytes into struct seccomp_data
_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2  # prctl(2)


def can_watch() -> bool:
    """Linux on a processor whose system calls are known here."""
    return sys.platform == "linux" and platform.machine() in _NUMBERS


def forbid_internet() -> None:
    """From here on, an internet socket ends this process and its children with SIGSYS.

    Raises:
        OSError: this kernel has no such filters.
    """
    architecture, number = _NUMBERS[platform.machine()]
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 0, 6, architecture),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_EQUAL, 0, 4, number),
        (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        (_EQUAL, 1, 0, int(socket.AF_INET)),
        (_EQUAL, 0, 1, int(socket.AF_INET6)),
        (_RETURN, 0, 0, _KILL),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = struct.pack("@HP", len(steps), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)

    for request in (
        (_NO_NEW_PRIVILEGES, 1, 0, 0, 0),
        (_SET_SECCOMP, _FILTER, program, 0, 0),
    ):
        if libc.prctl(*request):
            raise OSError(ctypes.get_errno(), "prctl refuses the filter")


if __name__ == "__main__":
    forbid_internet()
    os.execvp(sys.argv[1], sys.argv[1:])
