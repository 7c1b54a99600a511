"""Contracts that import-linter cannot see: compiled modules are invisible to it."""

from __future__ import annotations

import ast
from pathlib import Path

import statekeep_cli

PACKAGE = Path(statekeep_cli.__file__).parent


def imported(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


def test_only_the_router_knows_the_native_module() -> None:
    knows = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if any(name.startswith("statekeep_cli._native") for name in imported(ast.parse(path.read_text())))
    }
    assert knows == {"core/router.py"}
