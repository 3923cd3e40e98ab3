"""Generated code and the descriptor set: what protoc makes of `proto/`.

Third parties' protos are not copied: google's come with grpcio-tools and googleapis-common-protos, buf.validate's
schema out of the protovalidate wheel, all handed to protoc as one descriptor set.
"""

import tempfile
from importlib import import_module
from pathlib import Path

from google.protobuf import descriptor_pb2
from grpc_tools import protoc

# Imported by our protos but not ours; error_details.proto for the error details that the edge must be able to print.
THIRD_PARTY = (
    "google.api.annotations_pb2",
    "google.api.http_pb2",
    "google.api.httpbody_pb2",
    "google.rpc.error_details_pb2",
    "google.rpc.status_pb2",
)


class ProtocError(Exception):
    """Protoc refused the contract; the reason is on standard error."""


def write_stubs(proto: Path, python: Path) -> descriptor_pb2.FileDescriptorSet:
    """Write the Python stubs of all of `proto` into `python`, and return the descriptors of all that they need."""
    protos = sorted(p.relative_to(proto).as_posix() for p in proto.rglob("*.proto"))
    python.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        imports = Path(folder) / "imports.binpb"
        imports.write_bytes(third_party().SerializeToString())
        ours = Path(folder) / "ours.binpb"
        run_protoc(
            proto,
            imports,
            f"--python_out={python}",
            f"--pyi_out={python}",
            f"--grpc_python_out={python}",
            f"--descriptor_set_out={ours}",
            "--include_source_info",
            *protos,
        )
        # Our stubs import buf.validate's; its wheel has the schema but not the stub that google.protobuf needs.
        run_protoc(proto, imports, f"--python_out={python}", f"--pyi_out={python}", "buf/validate/validate.proto")
        descriptors = joined(imports.read_bytes(), ours.read_bytes())
    for package in sorted({p.parent for p in python.rglob("*_pb2.py")}):
        while package != python:
            (package / "__init__.py").touch()
            package = package.parent
    return descriptors


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


def run_protoc(proto: Path, imports: Path, *arguments: str) -> None:
    """Run the protoc of grpcio-tools."""
    if protoc.main(["protoc", f"-I{proto}", f"--descriptor_set_in={imports}", *arguments]):
        raise ProtocError


def joined(imports: bytes, ours: bytes) -> descriptor_pb2.FileDescriptorSet:
    """A descriptor set of our files, with comments, and of what they import, dependencies first, otherwise by name."""
    known = {f.name: f for f in descriptor_pb2.FileDescriptorSet.FromString(imports).file}
    known |= {f.name: f for f in descriptor_pb2.FileDescriptorSet.FromString(ours).file}
    ordered: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def add(name: str) -> None:
        if name in ordered:
            return
        for dependency in known[name].dependency:
            add(dependency)
        ordered[name] = known[name]

    for name in sorted(known):
        add(name)
    return descriptor_pb2.FileDescriptorSet(file=ordered.values())
