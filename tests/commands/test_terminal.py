"""Behaviour of `redfire up --demo` once the platform is healthy."""

import grpc
from redfire.auth.v1 import auth_pb2, auth_pb2_grpc
from redfire.strategy.v1 import strategy_pb2, strategy_pb2_grpc
from redfire.trading.v1 import account_service_pb2, account_service_pb2_grpc, trading_pb2
from redfire.user.v1 import user_pb2, user_pb2_grpc

from services.commands.terminal import Terminal


class Auth(auth_pb2_grpc.AuthServiceServicer):
    async def Login(self, request, context):
        return auth_pb2.LoginResponse(access_token="t")


class Users(user_pb2_grpc.UserServiceServicer):
    async def RegisterUser(self, request, context):
        return user_pb2.RegisterUserResponse()


class Accounts(account_service_pb2_grpc.AccountServiceServicer):
    async def ListAccounts(self, request, context):
        return account_service_pb2.ListAccountsResponse(accounts=[trading_pb2.Account()])


class Strategies(strategy_pb2_grpc.StrategyServiceServicer):
    """Its first worker is slow."""

    def __init__(self):
        self.asked, self.started = 0, False

    async def ListStrategies(self, request, context):
        return strategy_pb2.ListStrategiesResponse()

    async def ListStrategyClasses(self, request, context):
        self.asked += 1
        if self.asked == 1:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
        names = ["MovingAverageStrategy"]
        return strategy_pb2.ListStrategyClassesResponse(classes=[strategy_pb2.StrategyClass(name=n) for n in names])

    async def CreateStrategy(self, request, context):
        return strategy_pb2.CreateStrategyResponse(strategy=strategy_pb2.Strategy(strategy_id="s"))

    async def StartStrategy(self, request, context):
        self.started = True
        return strategy_pb2.StartStrategyResponse()


async def test_the_demo_starts_although_the_first_worker_is_slow(tmp_path):
    server, strategies = grpc.aio.server(), Strategies()
    auth_pb2_grpc.add_AuthServiceServicer_to_server(Auth(), server)
    user_pb2_grpc.add_UserServiceServicer_to_server(Users(), server)
    account_service_pb2_grpc.add_AccountServiceServicer_to_server(Accounts(), server)
    strategy_pb2_grpc.add_StrategyServiceServicer_to_server(strategies, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    terminal = Terminal(f"127.0.0.1:{port}", "127.0.0.1:1", tmp_path, totals=None)
    await terminal.start_demo()
    assert (strategies.asked, strategies.started) == (2, True)
    await terminal.close()
    await server.stop(None)
