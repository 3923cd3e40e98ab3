"""The policy of every RPC of the contract."""

from services.kernel.policy import MethodPolicy, contract_services, descriptor_set, service_policies

# Loads every stub, so that all descriptors are known.
for _file in descriptor_set().file:
    if _file.package.startswith("redfire."):
        __import__(_file.name.removesuffix(".proto").replace("/", ".") + "_pb2_grpc")

POLICIES: list[MethodPolicy] = [
    policy for names in contract_services().values() for name in names for policy in service_policies(name).values()
]
