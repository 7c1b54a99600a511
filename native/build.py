"""The cffi build of the native core: `statekeep_cli._native`, API mode, limited API where Python has it.

setup.py names `native/build.py:ffibuilder`; pip does the rest. What cffi declares is cut out of statekeep.h
between its two marks, so the binding and the header are one text; the compiler then compares every
declaration with the header it came from.

Environment, read at build time:

STATEKEEP_SANITIZE=1  AddressSanitizer and UBSan, for running the Python suite under them; how to is said in
                      native/Makefile
"""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BEGIN, END = "/* cdef: begin */", "/* cdef: end */"


def declarations(header: str) -> str:
    """The part of the header between the marks; ValueError unless each is there once and in order."""
    if header.count(BEGIN) != 1 or header.count(END) != 1:
        raise ValueError(f"statekeep.h must contain {BEGIN!r} and {END!r} once each")
    start, stop = header.index(BEGIN) + len(BEGIN), header.index(END)
    if stop < start:
        raise ValueError(f"statekeep.h must contain {BEGIN!r} before {END!r}")
    return header[start:stop]


def compile_args() -> list[str]:
    """Flags for the compiler of whoever installs.

    The strict warnings, as errors, belong to native/Makefile: a compiler that we have never seen may warn
    about something new, and that must not stop an installation.
    """
    if sys.platform == "win32":
        return ["/O2", "/std:c11", "/experimental:c11atomics"]
    if sanitizing():
        return ["-std=c11", "-O1", "-g", "-fno-omit-frame-pointer", *sanitizers()]
    return ["-std=c11", "-O3", "-fvisibility=hidden"]


def sanitizing() -> bool:
    return os.environ.get("STATEKEEP_SANITIZE", "") not in ("", "0")


def sanitizers() -> list[str]:
    return ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"] if sanitizing() else []


def relative(pattern: str) -> list[str]:
    """Files of this folder as setuptools wants them: relative to setup.py, in a fixed order."""
    return sorted(path.relative_to(ROOT).as_posix() for path in HERE.glob(pattern))


ffibuilder = FFI()
ffibuilder.cdef(declarations((HERE / "statekeep.h").read_text(encoding="ascii")))
ffibuilder.set_source(
    "statekeep_cli._native",
    '#include "statekeep.h"',
    sources=relative("*.c"),
    include_dirs=["native"],
    depends=[*relative("*.h"), *relative("*.py")],  # a changed header rebuilds, and an sdist carries them
    extra_compile_args=compile_args(),
    extra_link_args=sanitizers(),
    # Free-threaded builds of Python have no limited API; there the module is built for the one version.
    py_limited_api=not sysconfig.get_config_var("Py_GIL_DISABLED"),
)
