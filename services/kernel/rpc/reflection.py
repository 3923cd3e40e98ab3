"""gRPC server reflection with the contract's comments, which descriptors loaded by Python do not keep."""

from typing import Any

import grpc
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha import reflection_pb2 as pb

from services.kernel.policy import ROOT
from services.kernel.rpc.public_contract import public_files, public_services

_FOLDER = ROOT.replace(".", "/")


class ContractReflection(reflection.aio.ReflectionServicer):
    """Answers from the committed descriptor set what may be called from outside, also at other processes.

    It needs no token, at the edge and at a service's own port. So nothing of internal RPCs is in it, nor in any answer:
    who works on the platform has the descriptor set itself.
    """

    def __init__(self) -> None:
        super().__init__([*public_services(), "grpc.health.v1.Health", reflection.SERVICE_NAME])
        self._files = public_files()
        self._by_symbol: dict[str, str] = {}
        for file in self._files.values():
            scope = f"{file.package}." if file.package else ""
            for kind in (file.message_type, file.enum_type, file.service, file.extension):
                for item in kind:
                    self._by_symbol[scope + item.name] = file.name
            for service in file.service:
                for method in service.method:
                    self._by_symbol[f"{scope}{service.name}.{method.name}"] = file.name

    def _file_by_filename(self, request: Any, filename: str) -> Any:
        if answer := self._answer(request, filename):
            return answer
        if filename.startswith(_FOLDER):
            return _not_found(request)
        return super()._file_by_filename(request, filename)

    def _file_containing_symbol(self, request: Any, fully_qualified_name: str) -> Any:
        name = fully_qualified_name
        while name and name not in self._by_symbol:
            name = name.rpartition(".")[0]
        if answer := self._answer(request, self._by_symbol.get(name, "")):
            return answer
        # The pool that is asked for the rest knows internal RPCs, too.
        if fully_qualified_name.startswith(ROOT):
            return _not_found(request)
        return super()._file_containing_symbol(request, fully_qualified_name)

    def _file_containing_extension(self, request: Any, containing_type: str, extension_number: int) -> Any:
        answer = super()._file_containing_extension(request, containing_type, extension_number)
        files = answer.file_descriptor_response.file_descriptor_proto
        names = [descriptor_pb2.FileDescriptorProto.FromString(file).name for file in files]
        return (names and self._answer(request, names[0])) or answer

    def _answer(self, request: Any, filename: str) -> Any:
        if filename not in self._files:
            return None
        pending, order = [filename], []
        while pending:
            name = pending.pop()
            if name not in order:
                order.append(name)
                pending += self._files[name].dependency
        files = [self._files[name].SerializeToString() for name in order]
        answer = pb.FileDescriptorResponse(file_descriptor_proto=files)
        return pb.ServerReflectionResponse(file_descriptor_response=answer, original_request=request)


def _not_found(request: Any) -> Any:
    code = grpc.StatusCode.NOT_FOUND.value
    error = pb.ErrorResponse(error_code=code[0], error_message=code[1])
    return pb.ServerReflectionResponse(error_response=error, original_request=request)


def add_reflection(server: grpc.aio.Server) -> None:
    """Serve reflection."""
    from grpc_reflection.v1alpha import reflection_pb2_grpc

    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(ContractReflection(), server)
