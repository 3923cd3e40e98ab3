"""Accounts over gRPC: convert, call the service, convert."""

from redfire.enums import AccountKind, PositionSide
from redfire.trading.v1 import account_service_pb2 as pb
from redfire.trading.v1 import account_service_pb2_grpc as rpc

from services.kernel.decimals import from_text
from services.kernel.paging import Page
from services.kernel.rpc.call import Call
from services.trading import convert
from services.trading.account_service import AccountService
from services.trading.list_convert import ENTRIES, TRADES, entry_to_part, trade_to_part


class AccountApi(rpc.AccountServiceServicer):
    """AccountService."""

    def __init__(self, accounts: AccountService) -> None:
        self._accounts = accounts

    async def ListAccounts(self, request: pb.ListAccountsRequest, call: Call) -> pb.ListAccountsResponse:
        """Accounts, oldest first."""
        result = await self._accounts.list_accounts(call.user_id, Page.of(request, call.user_id, (int, str)))
        accounts = [convert.account_to_pb(view) for view in result.items]
        return pb.ListAccountsResponse(accounts=accounts, next_page_token=result.next_page_token)

    async def GetAccount(self, request: pb.GetAccountRequest, call: Call) -> pb.GetAccountResponse:
        """An account."""
        view = await self._accounts.get_account(call.user_id, request.account_id)
        return pb.GetAccountResponse(account=convert.account_to_pb(view))

    async def OpenAccount(self, request: pb.OpenAccountRequest, call: Call) -> pb.OpenAccountResponse:
        """Open another account."""
        kind = AccountKind(request.kind or AccountKind.PAPER)
        is_admin = call.identity.has("admin:all")
        view = await self._accounts.open_account(
            call.user_id, request.display_name, kind, request.gateway, request.request_id, is_admin
        )
        return pb.OpenAccountResponse(account=convert.account_to_pb(view))

    async def ListPositions(self, request: pb.ListPositionsRequest, call: Call) -> pb.ListPositionsResponse:
        """Positions, by symbol."""
        page = Page.of(request, call.user_id, (str, str, int))
        result = await self._accounts.list_positions(call.user_id, request.account_id, request.symbol, page)
        positions = [convert.position_to_pb(view) for view in result.items]
        return pb.ListPositionsResponse(positions=positions, next_page_token=result.next_page_token)

    async def ClosePosition(self, request: pb.ClosePositionRequest, call: Call) -> pb.ClosePositionResponse:
        """Close a position at the market."""
        order = await self._accounts.close_position(
            call.user_id,
            request.account_id,
            request.symbol,
            request.client_order_id,
            PositionSide(request.side) if request.side else None,
            from_text(request.quantity),
            call.traceparent,
        )
        return pb.ClosePositionResponse(order=convert.order_to_pb(order))

    async def ListTrades(self, request: pb.ListTradesRequest, call: Call) -> bytes:
        """Trades, newest first."""
        page = Page.of(request, call.user_id, (int, str))
        result = await self._accounts.list_trades(call.user_id, convert.filter_from_pb(request), page)
        return TRADES.response([trade_to_part(text) for text in result.items], result.next_page_token)

    async def ListLedgerEntries(self, request: pb.ListLedgerEntriesRequest, call: Call) -> bytes:
        """Ledger entries, newest first."""
        page = Page.of(request, call.user_id, (int, str))
        result = await self._accounts.list_ledger_entries(call.user_id, convert.filter_from_pb(request), page)
        return ENTRIES.response([entry_to_part(text) for text in result.items], result.next_page_token)

    async def GetSnapshot(self, request: pb.GetSnapshotRequest, call: Call) -> pb.GetSnapshotResponse:
        """All that is open of an account."""
        state = await self._accounts.get_snapshot(call.user_id, request.account_id)
        return convert.snapshot_to_pb(state.account, state.orders, state.positions, state.sequence)
