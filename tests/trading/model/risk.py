"""Risk of the model."""

import asyncio

from redfire.risk.v1 import risk_pb2, risk_pb2_grpc

from services.kernel.errors import Unavailable
from tests.harness import complete


@complete
class RiskApi(risk_pb2_grpc.RiskServiceServicer):
    """RiskService, which has nothing against anything, and is away now and then."""

    def __init__(self, line):
        self.line = line

    async def CheckOrder(self, request, call):
        await asyncio.sleep(self.line.rng.random() * self.line.faults.slow_s * 0.2)
        if self.line.chance(self.line.faults.refuse):
            raise Unavailable("risk is away")
        return risk_pb2.CheckOrderResponse()
