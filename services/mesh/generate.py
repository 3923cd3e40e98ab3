"""`make gen`: everything that is made from `proto/`, and the table of settings; the same bytes each time, anywhere."""

import argparse
import filecmp
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from services import registry
from services.kernel.rpc.service_config import service_config
from services.kernel.runtime.kernel_sections import KERNEL_SECTIONS
from services.kernel.version import VERSION
from services.mesh.contract import Contract
from services.mesh.edge.config import render_edge, to_yaml
from services.mesh.edge.options import EdgeOptions
from services.mesh.enums import render_enums, render_reasons
from services.mesh.openapi import render_openapi
from services.mesh.settings_table import render_settings
from services.mesh.stubs import ProtocError, write_stubs

ROOT = Path(__file__).resolve().parents[2]
PROTO = ROOT / "proto"
DESCRIPTORS = "gen/descriptors/redfire.binpb"
OPENAPI = "gen/openapi/redfire.openapi.json"
FIRST_PORT = 50051
# All files below these are generated: what the contract no longer makes is removed.
GENERATED = ("gen", "envoy")


def main() -> None:
    """Regenerate, or say what differs (`--check`), or only lint the contract (`--lint`)."""
    parser = argparse.ArgumentParser(description="Make gen/ and envoy/ from proto/.")
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument(
        "--check", action="store_true", help="change nothing; fail when what is committed is out of date"
    )
    modes.add_argument("--lint", action="store_true", help="only lint the contract with buf")
    arguments = parser.parse_args()
    if arguments.lint:
        sys.exit(lint(ROOT / DESCRIPTORS))
    with tempfile.TemporaryDirectory() as folder:
        try:
            generate(Path(folder))
        except ProtocError:
            sys.exit(1)
        changes = list(differences(Path(folder), ROOT))
        if arguments.check:
            if changes:
                sys.exit("Out of date, run `make gen`:\n" + "\n".join(f"  {kind} {path}" for kind, path in changes))
            return
        publish(Path(folder), ROOT, changes)
    sys.exit(lint(ROOT / DESCRIPTORS))


def generate(target: Path) -> None:
    """Write all that is generated below `target`, an empty folder, as it lies in the repository."""
    descriptors = write_stubs(PROTO, target / "gen/python")
    write(target / DESCRIPTORS, descriptors.SerializeToString(deterministic=True))
    write(target / "gen/python/redfire/reasons.py", render_reasons(descriptors).encode())
    write(target / "gen/python/redfire/enums.py", render_enums(descriptors).encode())
    contract = Contract(descriptors)
    write(target / OPENAPI, to_json(render_openapi(contract, VERSION)))
    write(target / "gen/service_config.json", to_json(service_config(rpc.policy for rpc in contract.rpcs)))
    write(target / "gen/settings.md", render_settings((*KERNEL_SECTIONS, *registry.sections())).encode())
    write(target / "envoy/edge.yaml", to_yaml(render_edge(contract, reference_options(contract))).encode())


def reference_options(contract: Contract) -> EdgeOptions:
    """The edge for reading and for `envoy --mode validate` in the repository: every service on a port of its own."""
    return EdgeOptions(
        services={name: (f"127.0.0.1:{FIRST_PORT + i}",) for i, name in enumerate(contract.services)},
        ops=f"127.0.0.1:{FIRST_PORT - 1}",
        descriptors=DESCRIPTORS,
        openapi=OPENAPI,
    )


def to_json(document: object) -> bytes:
    """JSON text that shows well in a diff."""
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def write(path: Path, content: bytes) -> None:
    """Write a file and the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def differences(made: Path, committed: Path) -> Iterator[tuple[str, str]]:
    """Differences of `committed` from what was `made`: missing, changed or stale, and the file."""
    new, old = files(made), files(committed)
    for path in sorted(new | old):
        if path not in old:
            yield "missing", path
        elif path not in new:
            yield "stale  ", path
        elif not filecmp.cmp(made / path, committed / path, shallow=False):
            yield "changed", path


def files(root: Path) -> set[str]:
    """The generated files below a folder, by relative path."""
    paths = (path for folder in GENERATED for path in (root / folder).rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix() for path in paths if "__pycache__" not in path.parts}


def publish(made: Path, target: Path, changes: list[tuple[str, str]]) -> None:
    """Bring `target` up to date; files that are right already stay untouched, since processes may import them."""
    for _, path in changes:
        if (made / path).exists():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made / path, target / path)
        else:
            (target / path).unlink()


def lint(descriptors: Path) -> int:
    """Buf's opinion of the contract; its exit status."""
    buf = str(Path(sys.executable).parent / "buf")
    return subprocess.run([buf, "lint", f"{descriptors}#format=binpb", "--config", str(ROOT / "buf.yaml")]).returncode  # noqa: S603  the linter beside this interpreter # nosec B603


if __name__ == "__main__":
    main()
