"""The tree's imports: no circle anywhere, also none inside a function, for types only, or by attributes set later."""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2]
SERVICES = ROOT / "services"


@cache
def modules() -> dict[str, ast.Module]:
    """Modules below services/ by dotted name; packages by the name of their folder."""
    trees = {}
    for path in sorted(SERVICES.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        trees[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text())
    return trees


def imported(tree: ast.Module) -> Iterator[str]:
    """Modules of the tree that a module imports, wherever in it; for a name of a module that module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules())
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if whole in modules():
                    yield whole
                elif node.module in modules():
                    yield node.module or ""


@cache
def imports() -> dict[str, set[str]]:
    """Imported modules of each module."""
    return {name: set(imported(tree)) - {name} for name, tree in modules().items()}


def room(name: str, parent: str) -> str:
    """The package directly below `parent` in which a module is; empty for a module beside the packages."""
    below = name.removeprefix(f"{parent}.")
    package = f"{parent}.{below.partition('.')[0]}"
    return package if below != name and (ROOT / package.replace(".", "/")).is_dir() else ""


def room_imports(parent: str) -> dict[str, set[str]]:
    """Packages below `parent` with those that they import; modules beside them, such as bind, are left out."""
    graph: dict[str, set[str]] = {}
    for name, others in imports().items():
        if package := room(name, parent):
            graph.setdefault(package, set()).update(room(other, parent) for other in others)
    return {package: others - {package, ""} for package, others in graph.items()}


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """A circle of a graph, its first node again at the end; empty when there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def test_no_module_imports_itself_through_others():
    assert len(imports()) > 300
    assert sum(map(len, imports().values())) > 1000
    assert circle(imports()) == []


def test_no_room_imports_itself_through_others():
    parents = {".".join(name.split(".")[:length]) for name in modules() for length in range(1, name.count(".") + 1)}
    graphs = {parent: room_imports(parent) for parent in parents}
    assert len([graph for graph in graphs.values() if len(graph) > 1]) >= 6
    circles = {parent: circle(graph) for parent, graph in graphs.items()}
    assert {parent: members for parent, members in circles.items() if members} == {}


def test_a_circle_inside_functions_and_for_types_is_detected():
    late = ast.parse("def f():\n    from services.kernel import clock\n")
    typed = ast.parse("if TYPE_CHECKING:\n    from services.kernel.clock import Clock\n")
    assert list(imported(late)) == ["services.kernel.clock"]
    assert list(imported(typed)) == ["services.kernel.clock"]
    members = circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})
    assert (len(members), members[0], set(members)) == (4, members[-1], {"a", "b", "c"})
    assert circle({"a": {"b", "c"}, "b": {"c"}}) == []


def attributes_set(tree: ast.AST) -> Iterator[ast.Attribute]:
    """Attributes that are assigned, also in tuples, with `setattr`, or for a type only."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "setattr":
            yield ast.Attribute(node.args[0], "(setattr)", ast.Store())


def is_own(target: ast.Attribute) -> bool:
    return isinstance(target.value, ast.Name) and target.value.id in ("self", "cls")


def test_wiring_sets_no_attribute_of_what_it_made():
    """Collaborators come by constructor and listeners are registered."""
    wiring = ("bind", "host", "resources", "service_context", "registry")
    later = [
        f"{name}: {ast.unparse(target)}"
        for name, tree in modules().items()
        if name.rpartition(".")[2] in wiring and not name.startswith("services.strategy.runner")
        for target in attributes_set(tree)
        if not is_own(target)
    ]
    assert later == []


def test_nobody_sets_a_private_attribute_of_another_object():
    later = [
        f"{name}: {ast.unparse(target)}"
        for name, tree in modules().items()
        for target in attributes_set(tree)
        if target.attr.startswith("_") and not target.attr.startswith("__") and not is_own(target)
    ]
    assert later == []


def test_attributes_that_are_set_later_are_detected():
    tree = ast.parse("self.a = 1\nx.b = 2\ny.c, z.d = 3, 4\nx.e: int = 5\nx.f += 1\nsetattr(x, 'g', 6)")
    assert {target.attr for target in attributes_set(tree) if not is_own(target)} == {
        "b", "c", "d", "e", "f", "(setattr)",
    }  # fmt: skip


def test_sql_is_in_repositories_models_and_the_kernel_alone():
    kernel = (
        "services.kernel.data.",
        "services.kernel.audit_trail.",
        "services.kernel.events.",
        "services.kernel.shards.",
        "services.kernel.runtime.",
        "services.commands.new_",
    )
    others = [
        name
        for name, tree in modules().items()
        if not name.startswith(kernel) and ".migrations." not in name and not name.endswith(("models", "repository"))
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        if any(of.startswith("sqlalchemy") for of in [getattr(node, "module", "") or "", *(a.name for a in node.names)])
    ]
    assert others == []
