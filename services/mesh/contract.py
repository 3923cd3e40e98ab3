"""The contract as the mesh reads it: services, their RPCs, REST routes and policies, out of a descriptor set."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from google.api import annotations_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor

from services.kernel.policy import MethodPolicy, policy_of

ROOT = "redfire."
VERBS = ("get", "put", "post", "delete", "patch")
PATH_FIELD = re.compile(r"\{([^}=]+)[^}]*\}")


@dataclass(frozen=True, slots=True)
class RestRoute:
    """One way to an RPC by REST (google.api.http)."""

    verb: str  # get
    path: str  # /api/trading/orders/{order_id}
    body: str  # "*": the body is the whole request, path fields aside; "": there is none
    response_body: str = ""  # the field that is the whole answer; "": the response is

    @property
    def path_fields(self) -> list[str]:
        """The request's fields that the path carries."""
        return PATH_FIELD.findall(self.path)


@dataclass(frozen=True, slots=True)
class Rpc:
    """One RPC: what it states about itself, and its routes."""

    policy: MethodPolicy
    method: MethodDescriptor
    routes: tuple[RestRoute, ...]

    @property
    def grpc_service(self) -> str:
        """Full name of its gRPC service, `redfire.trading.v1.OrderService`."""
        return str(self.method.containing_service.full_name)


class Contract:
    """All of `redfire.*` that a descriptor set holds, in the set's order, which is stable."""

    def __init__(self, descriptors: descriptor_pb2.FileDescriptorSet) -> None:
        self.descriptors = descriptors
        self.pool = descriptor_pool.DescriptorPool()
        for file in descriptors.file:
            self.pool.Add(file)

    def files(self) -> Iterator[FileDescriptor]:
        """Files of the contract, without the imported ones of others."""
        for file in self.descriptors.file:
            if file.package.startswith(ROOT):
                yield self.pool.FindFileByName(file.name)

    @cached_property
    def rpcs(self) -> tuple[Rpc, ...]:
        """All RPCs, internal ones too."""
        return tuple(
            Rpc(policy_of(method), method, routes_of(method))
            for file in self.files()
            for service in file.services_by_name.values()
            for method in service.methods
        )

    @cached_property
    def edge_rpcs(self) -> tuple[Rpc, ...]:
        """The RPCs that may be called from outside."""
        return tuple(rpc for rpc in self.rpcs if not rpc.policy.internal)

    @cached_property
    def services(self) -> tuple[str, ...]:
        """The short names of the services that have RPCs: `auth`, `trading`, …"""
        return tuple(sorted({rpc.policy.service for rpc in self.rpcs}))

    @cached_property
    def comments(self) -> dict[str, str]:
        """The comments before messages, fields, enums, values, services and RPCs, by full name."""
        comments: dict[str, str] = {}
        for file in self.descriptors.file:
            if file.package.startswith(ROOT):
                for place in file.source_code_info.location:
                    if place.leading_comments:
                        text = "\n".join(line.strip() for line in place.leading_comments.strip().splitlines())
                        comments[full_name(file, list(place.path))] = text
        return comments


def routes_of(method: MethodDescriptor) -> tuple[RestRoute, ...]:
    """The REST routes that a method states."""
    stated = method.GetOptions().Extensions[annotations_pb2.http]
    rules = [stated, *stated.additional_bindings]
    return tuple(
        RestRoute(verb, getattr(rule, verb), rule.body, rule.response_body)
        for rule in rules
        for verb in VERBS
        if getattr(rule, verb)
    )


def full_name(file: descriptor_pb2.FileDescriptorProto, path: list[int]) -> str:
    """The name of what stands at a path of SourceCodeInfo: field numbers and indices, in turn, from the file down."""
    names = [file.package]
    place: object = file
    for number, index in zip(path[::2], path[1::2], strict=False):
        field = place.DESCRIPTOR.fields_by_number[number]  # type: ignore[attr-defined]
        place = getattr(place, field.name)
        if not field.is_repeated:
            return ""
        place = place[index]  # type: ignore[index]
        names.append(getattr(place, "name", ""))
    return ".".join(names)
