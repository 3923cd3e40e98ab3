"""The contract as it is seen from outside: without internal RPCs, and the services and messages of these alone."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2
from redfire.options.v1 import options_pb2

from services.kernel.policy import ROOT, descriptor_set

_MESSAGES, _SERVICES, _METHODS = 4, 6, 2  # field numbers of FileDescriptorProto and ServiceDescriptorProto


@cache
def public_files() -> dict[str, descriptor_pb2.FileDescriptorProto]:
    """The contract's files and those that they import, by name, with comments."""
    files = {file.name: descriptor_pb2.FileDescriptorProto.FromString(file.SerializeToString()) for file in _all()}
    hidden = _hidden_messages()
    for file in files.values():
        if file.package.startswith(ROOT):
            _take_out(file, hidden)
    return files


def public_services() -> list[str]:
    """Full names of the gRPC services of which something may be called from outside."""
    return [
        f"{file.package}.{service.name}"
        for file in public_files().values()
        if file.package.startswith(ROOT)
        for service in file.service
    ]


def _all() -> Iterator[descriptor_pb2.FileDescriptorProto]:
    yield from descriptor_set().file


def _is_internal(method: descriptor_pb2.MethodDescriptorProto) -> bool:
    stated: options_pb2.MethodPolicy = method.options.Extensions[options_pb2.method]  # type: ignore[index]
    return stated.internal


def _hidden_messages() -> set[str]:
    """Messages at the top of files that nothing but internal RPCs has need of."""
    uses = {f".{file.package}.{message.name}": set(_types(message)) for file in _all() for message in file.message_type}
    methods = [method for file in _all() for service in file.service for method in service.method]
    internal = {kind for method in methods if _is_internal(method) for kind in (method.input_type, method.output_type)}
    public = {
        kind for method in methods if not _is_internal(method) for kind in (method.input_type, method.output_type)
    }
    of_internal = _closure(internal, uses)
    # Messages of no RPC, such as events, stay, and what they are made of.
    return of_internal - _closure(public | (uses.keys() - of_internal), uses)


def _closure(names: set[str], uses: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = [*names]
    while waiting:
        name = waiting.pop()
        while name and name not in uses:  # a message inside another is there with it
            name = name.rpartition(".")[0]
        if name and name not in reached:
            reached.add(name)
            waiting += uses[name]
    return reached


def _types(message: descriptor_pb2.DescriptorProto) -> Iterator[str]:
    for field in message.field:
        if field.type_name:
            yield field.type_name
    for inner in message.nested_type:
        yield from _types(inner)


def _take_out(file: descriptor_pb2.FileDescriptorProto, hidden: set[str]) -> None:
    for index, service in enumerate(file.service):
        _keep(file, service.method, (_SERVICES, index, _METHODS), lambda method: not _is_internal(method))
    _keep(file, file.service, (_SERVICES,), lambda service: bool(service.method))
    _keep(file, file.message_type, (_MESSAGES,), lambda message: f".{file.package}.{message.name}" not in hidden)


def _keep(
    file: descriptor_pb2.FileDescriptorProto, items: Any, path: tuple[int, ...], is_kept: Callable[[Any], bool]
) -> None:
    """Keep some of the items at a path; comments, which go by index, follow."""
    kept = [index for index, item in enumerate(items) if is_kept(item)]
    if len(kept) == len(items):
        return
    places = {old: new for new, old in enumerate(kept)}
    for index in reversed(range(len(items))):
        if index not in places:
            del items[index]
    size = len(path)
    locations = list(file.source_code_info.location)
    del file.source_code_info.location[:]
    for location in locations:
        if tuple(location.path[:size]) == path and len(location.path) > size:
            if location.path[size] not in places:
                continue
            location.path[size] = places[location.path[size]]
        file.source_code_info.location.append(location)
