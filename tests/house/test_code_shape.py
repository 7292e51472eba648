"""Files of one idea and short functions: no exceptions."""

import ast
from collections.abc import Iterator
from pathlib import Path
from statistics import median

CHECKOUT = Path(__file__).parents[2]
SOURCE_ROOTS = ("console", "plugins", "rlhf_engine", "benchmarks")
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 50
MAX_MEDIAN_FUNCTION_LINES = 15


def source_files() -> list[Path]:
    return [path for root in SOURCE_ROOTS for path in sorted((CHECKOUT / root).rglob("*.py"))]


def functions() -> Iterator[tuple[str, int]]:
    """Place and length in lines of every function, its docstring left out."""
    for path in source_files():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.relative_to(CHECKOUT)}:{node.lineno} {node.name}", _length(node)


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = node.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (node.end_lineno or 0) - node.lineno + 1 - docstring


def test_no_file_is_longer_than_one_idea() -> None:
    lengths = {str(path.relative_to(CHECKOUT)): len(path.read_text().splitlines()) for path in source_files()}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FILE_LINES} == {}


def test_no_function_is_too_long() -> None:
    assert {place: lines for place, lines in functions() if lines > MAX_FUNCTION_LINES} == {}


def test_the_median_function_is_short() -> None:
    assert median(lines for _, lines in functions()) <= MAX_MEDIAN_FUNCTION_LINES
