"""gRPC server reflection with the contract's comments, which descriptors loaded by Python do not keep."""

from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha import reflection_pb2 as pb

from services.kernel.policy import contract_services, descriptor_set


class ContractReflection(reflection.aio.ReflectionServicer):
    """Answers from the committed descriptor set; lists every service of the contract, also those of other processes."""

    def __init__(self) -> None:
        names = [name for names in contract_services().values() for name in names]
        super().__init__([*names, "grpc.health.v1.Health", reflection.SERVICE_NAME])
        self._files = {file.name: file for file in descriptor_set().file}
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
        return self._answer(request, filename) or super()._file_by_filename(request, filename)

    def _file_containing_symbol(self, request: Any, fully_qualified_name: str) -> Any:
        name = fully_qualified_name
        while name and name not in self._by_symbol:
            name = name.rpartition(".")[0]
        answer = self._answer(request, self._by_symbol.get(name, ""))
        return answer or super()._file_containing_symbol(request, fully_qualified_name)

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


def add_reflection(server: grpc.aio.Server) -> None:
    """Serve reflection."""
    from grpc_reflection.v1alpha import reflection_pb2_grpc

    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(ContractReflection(), server)
