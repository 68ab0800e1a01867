"""Measures of how the package reads: paragraphs, comments, imports and words.

`python tests/support/pages.py [FOLDER]` prints the figures, and each function and line that breaks
a habit.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from dataclasses import dataclass
from pathlib import Path

LONG = 25  # lines; a function as long as this has paragraphs, or its page is a wall
PLAIN = 20  # lines; longer functions have paragraphs unless what follows the docstring is short
SHORT_BODY = 12  # lines; a body of no more is one paragraph
# Words that hide who does what to whom; docstrings have subject, verb and object instead.
WORDS = re.compile(r"\b(can not|said|told|asked)\b", re.IGNORECASE)
OPENINGS = re.compile(r"\s*(What|Whether|Where|How|Which)\b")


@dataclass(frozen=True)
class Function:
    """A function of a file: its lines in all, those after the docstring, and whether it is a wall.

    dense: no blank line and no comment line divides the body.
    """

    path: Path
    line: int
    name: str
    lines: int
    body_lines: int
    dense: bool

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.name}, {self.lines} lines"


@dataclass(frozen=True)
class Page:
    """A file: line counts, functions, and the docstrings, comments and texts with hiding words."""

    path: Path
    lines: int
    written: int  # not blank
    code: int  # neither blank nor comment nor docstring
    imports: int
    comments: int
    functions: list[Function]
    words: list[str]


def _docstring_of(node: ast.AST) -> ast.Constant | None:
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    first = node.body[0] if node.body else None
    if not isinstance(first, ast.Expr) or not isinstance(first.value, ast.Constant):
        return None
    return first.value if isinstance(first.value.value, str) else None


def _function(
    path: Path, node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]
) -> Function:
    statements = node.body[1:] if _docstring_of(node) is not None else node.body
    end = node.end_lineno or node.lineno
    body = lines[statements[0].lineno - 1 : end] if statements else []
    divided = any(not line.strip() or line.strip().startswith("#") for line in body)
    return Function(path, node.lineno, node.name, end - node.lineno + 1, len(body), not divided)


def _words(path: Path, text: str, docstrings: list[ast.Constant]) -> list[str]:
    found = [
        f"{path}:{one.lineno} opens with {opening.group(1)}"
        for one in docstrings
        if (opening := OPENINGS.match(str(one.value)))
    ]
    prose = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1)}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in prose:
            used = WORDS.findall(" ".join(token.string.split()))
            found += [f"{path}:{token.start[0]} uses {word!r}" for word in used]
    return found


def read_page(path: Path) -> Page:
    """Measures one Python file."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    nodes = list(ast.walk(ast.parse(text)))

    docstrings = [one for node in nodes if (one := _docstring_of(node)) is not None]
    prose = {at for one in docstrings for at in range(one.lineno, (one.end_lineno or 0) + 1)}
    imports = {
        at
        for node in nodes
        if isinstance(node, ast.Import | ast.ImportFrom)
        for at in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }

    outside = [line.strip() for at, line in enumerate(lines, 1) if at not in prose and line.strip()]
    comments = sum(line.startswith("#") for line in outside)
    functions = [
        _function(path, node, lines)
        for node in nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return Page(
        path,
        len(lines),
        sum(bool(line.strip()) for line in lines),
        len(outside) - comments,
        len(imports),
        comments,
        functions,
        _words(path, text, docstrings),
    )


def walls(pages: list[Page]) -> list[Function]:
    """Functions that need paragraphs and have none."""
    return [
        function
        for page in pages
        for function in page.functions
        if function.dense and function.lines > PLAIN and function.body_lines > SHORT_BODY
    ]


def figures(pages: list[Page]) -> str:
    """One line per figure, shares in per cent."""
    written = sum(page.written for page in pages)
    code = sum(page.code for page in pages)
    functions = [function for page in pages for function in page.functions]
    long = [function for function in functions if function.lines >= LONG]
    dense = sum(function.dense for function in long)
    sizes = sorted(page.lines for page in pages)
    rows = {
        "files": f"{len(pages)}, median {sizes[len(sizes) // 2]} lines",
        "lines": f"{sum(sizes)}, code {code}",
        "imports": f"{100 * sum(page.imports for page in pages) / written:.1f} % of written lines",
        "comments": f"{100 * sum(page.comments for page in pages) / code:.1f} % of code lines",
        "long functions": f"{len(long)} of {LONG} lines or more among {len(functions)}",
        "dense": f"{dense} of them, {100 * dense / max(1, len(long)):.0f} %",
        "walls": f"{len(walls(pages))} functions above {PLAIN} lines",
        "hiding words": f"{sum(len(page.words) for page in pages)}",
    }
    return "\n".join(f"{name:15} {row}" for name, row in rows.items())


def pages_of(folder: Path) -> list[Page]:
    """Every Python file below a folder, in order."""
    return [read_page(path) for path in sorted(folder.rglob("*.py"))]


if __name__ == "__main__":
    PAGES = pages_of(Path(sys.argv[1] if len(sys.argv) > 1 else "vidparse"))
    print(figures(PAGES))
    print(*walls(PAGES), *(word for page in PAGES for word in page.words), sep="\n")
