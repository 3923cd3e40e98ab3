"""`make gen`: stubs, descriptors and generated configuration from `proto/`, the same bytes each time.

Third parties' protos are not copied: google's come with grpcio-tools and googleapis-common-protos, buf.validate's
schema out of the protovalidate wheel, all handed to protoc as one descriptor set.
"""

import shutil
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import grpc_tools
from google.protobuf import descriptor_pb2
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[2]
PROTO = ROOT / "proto"
PYTHON = ROOT / "gen" / "python"
DESCRIPTORS = ROOT / "gen" / "descriptors" / "redfire.binpb"

# Imported by our protos but not ours; details.proto for the error details that the edge must be able to print.
THIRD_PARTY = (
    "google.api.annotations_pb2",
    "google.api.http_pb2",
    "google.rpc.error_details_pb2",
    "google.rpc.status_pb2",
)


def main() -> None:
    """Regenerate everything below `gen/` from `proto/`."""
    protos = sorted(str(p.relative_to(PROTO)) for p in PROTO.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        imports = Path(folder) / "imports.binpb"
        imports.write_bytes(third_party().SerializeToString())
        ours = Path(folder) / "ours.binpb"
        shutil.rmtree(PYTHON, ignore_errors=True)
        PYTHON.mkdir(parents=True, exist_ok=True)
        run_protoc(
            imports,
            f"--python_out={PYTHON}",
            f"--pyi_out={PYTHON}",
            f"--grpc_python_out={PYTHON}",
            f"--descriptor_set_out={ours}",
            "--include_source_info",
            *protos,
        )
        # Our stubs import buf.validate's; its wheel has the schema but not the stub that google.protobuf needs.
        run_protoc(imports, f"--python_out={PYTHON}", f"--pyi_out={PYTHON}", "buf/validate/validate.proto")
        write_descriptors(imports, ours)
    for package in sorted({p.parent for p in PYTHON.rglob("*_pb2.py")}):
        while package != PYTHON:
            (package / "__init__.py").touch()
            package = package.parent
    subprocess.run([buf(), "lint", f"{DESCRIPTORS}#format=binpb", "--config", str(ROOT / "buf.yaml")], check=True)


def third_party() -> descriptor_pb2.FileDescriptorSet:
    """The files that our protos import, dependencies first."""
    files: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def add(file: object) -> None:
        name: str = file.name  # type: ignore[attr-defined]
        if name in files:
            return
        for dependency in file.dependencies:  # type: ignore[attr-defined]
            add(dependency)
        proto = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(proto)  # type: ignore[attr-defined]
        files[name] = proto

    for module in THIRD_PARTY:
        add(import_module(module).DESCRIPTOR)
    for name in ("field_mask", "struct", "timestamp", "duration", "descriptor", "wrappers"):
        add(import_module(f"google.protobuf.{name}_pb2").DESCRIPTOR)
    validate = import_module("protovalidate._gen.buf.validate.validate_pb").desc().proto.to_binary()
    proto = descriptor_pb2.FileDescriptorProto.FromString(validate)
    files[proto.name] = proto
    return descriptor_pb2.FileDescriptorSet(file=files.values())


def run_protoc(imports: Path, *arguments: str) -> None:
    """Run the protoc of grpcio-tools, or end with its complaint."""
    include = Path(grpc_tools.__file__).parent / "_proto"
    status = protoc.main(["protoc", f"-I{PROTO}", f"--descriptor_set_in={imports}", *arguments])
    if status:
        sys.exit(f"protoc ended with {status} (includes: {include.name})")


def write_descriptors(imports: Path, ours: Path) -> None:
    """Join our files, with comments, and what they import into one set, dependencies first."""
    known = {f.name: f for f in descriptor_pb2.FileDescriptorSet.FromString(imports.read_bytes()).file}
    known |= {f.name: f for f in descriptor_pb2.FileDescriptorSet.FromString(ours.read_bytes()).file}
    ordered: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def add(name: str) -> None:
        if name in ordered:
            return
        for dependency in known[name].dependency:
            add(dependency)
        ordered[name] = known[name]

    for name in sorted(known):
        add(name)
    DESCRIPTORS.parent.mkdir(parents=True, exist_ok=True)
    DESCRIPTORS.write_bytes(descriptor_pb2.FileDescriptorSet(file=ordered.values()).SerializeToString(deterministic=True))


def buf() -> str:
    """The buf binary beside this Python."""
    return str(Path(sys.executable).parent / "buf")


if __name__ == "__main__":
    main()
