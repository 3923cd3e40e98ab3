"""Rules that the tests themselves keep: they hold on any machine, however slow, and stand alone."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
MODULES = sorted(TESTS.rglob("test_*.py"))
CLOCKS = {"time.monotonic", "time.perf_counter", "time.time", "monotonic", "perf_counter"}
SLEEPS = {"asyncio.sleep", "time.sleep", "sleep"}


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    """The parsed test modules, by their paths below tests/."""
    return {str(file.relative_to(TESTS)): ast.parse(file.read_text()) for file in MODULES}


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Functions in real time."""
    for node in ast.walk(tree):
        simulated = "in_simulated_time" in [ast.unparse(d) for d in getattr(node, "decorator_list", ())]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not simulated:
            yield node


def reads_clock(node: ast.AST, times: set[str]) -> bool:
    """Test an expression for a clock's time, or a name that came from one; not what others make of it."""
    if isinstance(node, ast.Name):
        return node.id in times
    if isinstance(node, ast.Call):
        called = ast.unparse(node.func)
        if called in CLOCKS or called.endswith("loop().time") or called == "loop.time":
            return True
        if called not in {"abs", "int", "max", "min", "round", "sum"}:
            return False
    return any(reads_clock(child, times) for child in ast.iter_child_nodes(node))


def elapsed_asserts(tree: ast.AST) -> Iterator[int]:
    for function in functions(tree):
        times: set[str] = set()
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and reads_clock(node.value, times):
                times |= {part.id for target in node.targets for part in ast.walk(target) if isinstance(part, ast.Name)}
        for node in ast.walk(function):
            if isinstance(node, ast.Assert) and reads_clock(node.test, times):
                yield node.lineno


def bare_sleeps(node: ast.AST) -> Iterator[int]:
    """Sleeps of a fixed time that stand in a test itself, neither in a loop that polls nor in a function it defines."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.While | ast.For | ast.AsyncFor | ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.Call) and ast.unparse(child.func) in SLEEPS and child.args:
            seconds = child.args[0]
            if isinstance(seconds, ast.Constant) and seconds.value:
                yield child.lineno
        yield from bare_sleeps(child)


@pytest.mark.parametrize("rule", ["imports", "seconds", "sleeps"])
def test_tests_import_no_test_and_measure_no_seconds_and_sleep_for_nothing(trees, rule):
    broken = []
    for file, tree in trees.items():
        if rule == "imports":
            modules = (node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
            lines = [name for name in modules if name.startswith("tests.") and ".test_" in name]
        elif rule == "seconds":
            lines = list(elapsed_asserts(tree))
        else:
            tests = (function for function in functions(tree) if function.name.startswith("test_"))
            lines = [line for function in tests for line in bare_sleeps(function)]
        broken += [f"{file}: {line}" for line in lines]
    assert broken == []


def test_the_rules_see_what_they_forbid():
    tree = ast.parse(
        "def test_a():\n    t = time.monotonic()\n    took = time.monotonic() - t\n    assert took < 1\n    sleep(1)\n"
    )
    assert list(elapsed_asserts(tree)) == [4]
    assert list(bare_sleeps(tree.body[0])) == [5]
