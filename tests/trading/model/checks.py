"""Invariants that hold once all is settled."""

from collections import defaultdict
from decimal import Decimal as D
from typing import Any

from redfire.common.v1 import common_pb2 as common
from redfire.common.v1.error_reason_pb2 import ErrorReason
from redfire.trading.v1 import account_service_pb2 as account_pb
from redfire.trading.v1 import order_service_pb2 as order_pb

from services.kernel.errors import RedFireError
from services.trading.verify.books import check_books
from services.trading.verify.books_repository import BooksRepository
from tests.trading.model import disk, group_checks
from tests.trading.model.exchange import CLOSES, KEEPS_ORDERS, LISTINGS

RESTING = frozenset({common.ORDER_STATUS_NEW, common.ORDER_STATUS_PARTIALLY_FILLED})
MARGIN_RATE, COMMISSION_RATE = D("0.12"), D("0.000023")
ROUNDING = D("0.001")
# What follows from the last prices, which no change of ours brings about.
PRICED = ("last_price", "unrealized_pnl", "available", "equity", "margin_call")


class Books:
    """All that trading's API returns."""

    def __init__(self) -> None:
        self.accounts: dict[str, Any] = {}
        self.orders: dict[str, Any] = {}
        self.open: dict[str, Any] = {}
        self.trades: list[Any] = []
        self.entries: list[Any] = []
        self.positions: list[Any] = []
        self.snapshots: dict[str, Any] = {}
        self.groups: dict[str, Any] = {}


async def read(model: Any) -> Books:
    """Read everything of everybody."""
    books = Books()
    run = model.run
    for user in model.followers:
        accounts, orders = run.accounts(user), run.orders(user)
        for account in (await accounts.ListAccounts(account_pb.ListAccountsRequest())).accounts:
            books.accounts[account.account_id] = account
            asked = account_pb.GetSnapshotRequest(account_id=account.account_id)
            books.snapshots[account.account_id] = await accounts.GetSnapshot(asked)
        books.orders |= {o.order_id: o for o in await _all(orders.ListOrders, order_pb.ListOrdersRequest, "orders")}
        asked_open = order_pb.ListOrdersRequest(open_only=True, page_size=1000)
        books.open |= {order.order_id: order for order in (await orders.ListOrders(asked_open)).orders}
        books.trades += await _all(accounts.ListTrades, account_pb.ListTradesRequest, "trades")
        books.entries += await _all(accounts.ListLedgerEntries, account_pb.ListLedgerEntriesRequest, "entries")
        books.positions += (await accounts.ListPositions(account_pb.ListPositionsRequest(page_size=1000))).positions
    books.groups = await group_checks.groups_of(model, books.orders)
    return books


async def _all(rpc: Any, request: Any, field: str) -> list[Any]:
    items: list[Any] = []
    token = ""
    while True:
        answer = await rpc(request(page_size=1000, page_token=token))
        items += getattr(answer, field)
        token = answer.next_page_token
        if not token:
            return items


async def problems(model: Any) -> list[str]:
    """All that is not as it must be."""
    try:
        books = await read(model)
    except RedFireError as error:
        return [f"the books cannot be read: {error!r}"]
    exchange = model.venue.exchange
    return [
        *group_checks.problems(books.groups),
        *_orders(model, books, exchange),
        *_trades(books, exchange),
        *_positions(books),
        *disk.days(model),
        *disk.leases(model),
        *_cash(books),
        *_held(model, books),
        *await _acknowledged(model, books),
        *_streams(model, books),
        *await _verified(model),
    ]


async def _verified(model: Any) -> list[str]:
    """Findings of `redfire verify` in what is stored."""
    database = next(one for one in model.run.host.resources.databases if "trading" in one.name)
    checked = await check_books(database.repositories(BooksRepository))
    return [f"verify: {finding}" for finding in checked.findings.kept]


def _name(order: Any) -> str:
    return f"{order.client_order_id} ({order.order_id})"


def _orders(model: Any, books: Books, exchange: Any) -> list[str]:
    violations = []
    live: dict[str, list[Any]] = defaultdict(list)
    for order in exchange.orders.values():
        if order.is_open and order.owner:
            live[order.owner].append(order)
        if order.is_open and order.type == common.ORDER_TYPE_MARKET:
            violations.append(f"is being matched: {order}")
    for order_id, legs in live.items():
        if order_id not in books.open:
            status = common.OrderStatus.Name(books.orders[order_id].status) if order_id in books.orders else "unknown"
            violations.append(f"live at the venue, {status} here: {legs[0]}")
    for order in books.open.values():
        status = common.OrderStatus.Name(order.status)
        legs = live.get(order.order_id, [])
        waits = order.type in (3, 4, 5) and not order.triggered
        group = books.groups.get(order.order_group_id)
        if group is not None and not legs and group_checks.is_dormant(group, order):
            continue
        if order.status not in RESTING:
            violations.append(f"{_name(order)} is {status}")
        elif legs:
            leaves = sum((leg.leaves for leg in legs), D(0))
            # The venue may have refused the leg by which a group's exit was to grow; its stop stands for all.
            less = group is not None and leaves < D(order.leaves_quantity)
            if D(order.leaves_quantity) != leaves and not less:
                violations.append(f"{_name(order)}: {order.leaves_quantity} left here, {leaves} at the venue")
            if order.price and legs[0].price is not None and D(order.price) != legs[0].price:
                violations.append(f"{_name(order)}: at {order.price} here, at {legs[0].price} at the venue")
        elif not waits and not order.hold_reason and (group is None or group_checks.is_entry(group, order)):
            violations.append(f"{_name(order)} is {status}, and not at the venue")
        if _waits_for_contracts(order):
            if free := _free(books, order):
                violations.append(f"{_name(order)} waits for contracts, of which {free} are free")
        elif order.triggered and not legs and model.venue.is_trading(order.symbol) and not _is_over(exchange, order):
            violations.append(f"{_name(order)} has triggered, and is not at the venue ({order.hold_reason})")
        if waits and legs:
            violations.append(f"{_name(order)} waits here and is at the venue")
    for order in exchange.orders.values():
        if order.anonymous and not order.adopted and (order.filled or order.is_open):
            ours = books.orders.get(order.reference[:36])
            status = common.OrderStatus.Name(ours.status) if ours is not None else "unknown"
            violations.append(f"an administrator cannot adopt {order}, which is {status} here")
    for intent in model.by_order.values():
        legs = [order for order in exchange.orders.values() if order.owner == intent.order_id]
        filled = sum((leg.filled for leg in legs), D(0))
        if intent.group is not None and any(leg.closing for leg in legs):
            filled -= exchange.busted_of(intent.order_id)  # closed again
        most = model.most_of(intent.order_id)
        if filled > most:
            violations.append(f"{intent.client_order_id}: the venue filled {filled}, at most {most} was asked for")
    return violations


def _is_over(exchange: Any, order: Any) -> bool:
    """Return whether the venue expired an order on this trading day: one that is good longer is sent on the next."""
    return order.time_in_force in (common.TIME_IN_FORCE_GTC, common.TIME_IN_FORCE_GTD) and any(
        leg.owner == order.order_id
        and leg.day == exchange.trading_day
        and leg.status == common.ORDER_STATUS_EXPIRED
        and leg.gateway not in KEEPS_ORDERS
        for leg in exchange.orders.values()
    )


def _waits_for_contracts(order: Any) -> bool:
    """Return whether all that a reduce-only stop could close is held by other orders."""
    return order.triggered and order.reduce_only and order.hold_reason == ErrorReason.INSUFFICIENT_POSITION


def _free(books: Books, order: Any) -> D:
    """Contracts that an order could close and none holds, at least."""
    side = common.POSITION_SIDE_SHORT if order.side == 1 else common.POSITION_SIDE_LONG
    free = D(0)
    for position in books.positions:
        if (position.account_id, position.symbol, position.side) == (order.account_id, order.symbol, side):
            of_effect = {3: position.today_quantity, 4: position.yesterday_quantity}
            held = D(of_effect.get(order.position_effect, position.quantity))
            free = max(held - D(position.frozen_quantity), D(0))
    return free


def _trades(books: Books, exchange: Any) -> list[str]:
    violations = []
    ours: dict[str, Any] = {}
    for trade in books.trades:
        if trade.busted:
            continue
        name = trade.venue_trade_id.partition("#")[0]
        if name in ours:
            violations.append(f"booked twice: {name}")
        ours[name] = trade
    theirs = {
        trade.venue_trade_id: trade
        for trade in exchange.trades
        if exchange.orders[trade.venue_order_id].owner and not trade.busted
    }
    violations += [f"not the venue's: {ours[name]}" for name in ours.keys() - theirs.keys()]
    for name, trade in theirs.items():
        mine = ours.get(name)
        if mine is None:
            violations.append(f"lost: {trade}")
            continue
        order = books.orders.get(mine.order_id)
        venue_order = exchange.orders[trade.venue_order_id]
        same = (
            order is not None
            and mine.order_id == venue_order.owner
            and mine.account_id == order.account_id == venue_order.account_id
            and (mine.symbol, mine.side) == (trade.symbol, trade.side)
            and (D(mine.price), D(mine.quantity)) == (trade.price, trade.quantity)
            and mine.trading_day in (0, trade.trading_day)
        )
        if not same:
            violations.append(f"booked otherwise: {trade} as {mine}")
    for order in books.orders.values():
        mine_of = [trade for trade in books.trades if trade.order_id == order.order_id and not trade.busted]
        if D(order.cumulative_quantity) != sum((D(t.quantity) for t in mine_of), D(0)):
            violations.append(f"{_name(order)}: cumulative {order.cumulative_quantity}, its trades {len(mine_of)}")
        if D(order.commission or "0") != sum((D(t.commission) for t in mine_of), D(0)):
            violations.append(f"{_name(order)}: commission {order.commission} is not that of its trades")
    return violations


def _positions(books: Books) -> list[str]:
    """Positions are the sum of their trades, and today's part that of the day's."""
    violations = []
    sums: dict[tuple[str, str, int], D] = defaultdict(D)
    for trade in books.trades:
        if trade.busted:
            continue
        closing = trade.position_effect in CLOSES
        side = common.POSITION_SIDE_LONG if (trade.side == 1) != closing else common.POSITION_SIDE_SHORT
        sums[trade.account_id, trade.symbol, side] += -D(trade.quantity) if closing else D(trade.quantity)
    held = {(p.account_id, p.symbol, p.side): p for p in books.positions}
    for key in sums.keys() | held.keys():
        position = held.get(key)
        quantity = D(position.quantity) if position is not None else D(0)
        if quantity != sums[key]:
            violations.append(f"position {key} is {quantity}, the sum of its trades {sums[key]}")
        if position is None:
            continue
        if D(position.today_quantity) + D(position.yesterday_quantity) != quantity:
            violations.append(f"position {key}: today's and yesterday's are not all")
        if not D(0) <= D(position.frozen_quantity) <= quantity or D(position.today_quantity) < 0:
            violations.append(f"position {key}: {position}")
    return violations


def holdings(books: Books, model: Any) -> list[str]:
    """Assert that our positions and the venue's are the same, of today and of yesterday."""
    violations = []
    foreign: dict[tuple[str, int], D] = defaultdict(D)
    foreign_today: dict[tuple[str, int], D] = defaultdict(D)
    exchange = model.venue.exchange
    for trade in exchange.trades:
        if trade.busted:
            continue
        if not exchange.orders[trade.venue_order_id].owner:
            side = common.POSITION_SIDE_LONG if trade.side == 1 else common.POSITION_SIDE_SHORT
            foreign[trade.symbol, side] += trade.quantity
            if trade.trading_day == exchange.trading_day:
                foreign_today[trade.symbol, side] += trade.quantity
    ours: dict[tuple[str, int], list[D]] = defaultdict(lambda: [D(0), D(0)])
    for position in books.positions:
        sums = ours[position.symbol, position.side]
        sums[0] += D(position.today_quantity)
        sums[1] += D(position.quantity)
    for (symbol, side), holding in exchange.holdings.items():
        today, whole = ours[symbol, side]
        if whole + foreign[symbol, side] != holding.today + holding.yesterday:
            violations.append(f"{symbol} {side}: {whole} here, {holding} there, {foreign[symbol, side]} foreign")
        elif today + foreign_today[symbol, side] != holding.today and LISTINGS[symbol].splits_closes:
            violations.append(f"{symbol} {side}: {today} of today here, {holding} there")
    return violations


def _cash(books: Books) -> list[str]:
    violations = []
    transactions: dict[str, D] = defaultdict(D)
    cash: dict[str, D] = defaultdict(D)
    ids = set()
    for entry in books.entries:
        transactions[entry.transaction_id] += D(entry.amount)
        if entry.ledger_account.startswith("cash:"):
            cash[entry.ledger_account.removeprefix("cash:")] += D(entry.amount)
        ids.add(entry.entry_id)
    if len(ids) != len(books.entries):
        violations.append("a ledger entry is listed twice")
    violations += [f"transaction {name} sums to {amount}" for name, amount in transactions.items() if amount]
    for account_id, account in books.accounts.items():
        if D(account.balance) != cash[account_id]:
            violations.append(f"balance {account.balance}, cash entries {cash[account_id]}")
        mine = [trade for trade in books.trades if trade.account_id == account_id and not trade.busted]
        if D(account.commission) != sum((D(t.commission) for t in mine), D(0)):
            violations.append(f"account's commission {account.commission} is not that of its trades")
        # Whatever price a position is carried at: realised and carried value together are what was paid and got.
        flows: dict[str, D] = defaultdict(D)
        for trade in mine:
            value = D(trade.price) * D(trade.quantity) * D(LISTINGS[trade.symbol].contract_size)
            flows[trade.symbol] += value if trade.side == 2 else -value
        carried = D(0)
        for position in books.positions:
            if position.account_id == account_id:
                value = D(position.average_price) * D(position.quantity) * D(LISTINGS[position.symbol].contract_size)
                carried += value if position.side == common.POSITION_SIDE_LONG else -value
        paid_in = sum(
            (D(e.amount) for e in books.entries if e.ledger_account == f"cash:{account_id}" and e.kind == 1), D(0)
        )
        expected = paid_in + sum(flows.values(), D(0)) + carried - D(account.commission)
        if abs(D(account.balance) - expected) > ROUNDING:
            violations.append(f"balance {account.balance}, by its trades {expected}")
    return violations


def _held(model: Any, books: Books) -> list[str]:
    """Frozen money and frozen positions are what open orders need."""
    violations = []
    prices = disk.reserve_prices(model)
    money: dict[str, D] = defaultdict(D)
    contracts: dict[tuple[str, str, int], D] = defaultdict(D)
    for order in books.open.values():
        leaves = D(order.leaves_quantity)
        if order.position_effect in CLOSES:
            if order.reduce_only and order.type in (3, 4, 5) and (not order.triggered or _waits_for_contracts(order)):
                continue  # it takes what is there when it triggers
            side = common.POSITION_SIDE_SHORT if order.side == 1 else common.POSITION_SIDE_LONG
            key = (order.account_id, order.symbol, side)
            if not order.order_group_id:
                contracts[key] += leaves
            continue
        price = prices.get(order.order_id, D(0))
        if order.price and price < D(order.price):
            violations.append(f"{_name(order)}: money is held for {price}, its limit is {order.price}")
        notional = price * leaves * D(LISTINGS[order.symbol].contract_size)
        money[order.account_id] += notional * MARGIN_RATE + notional * COMMISSION_RATE
    for key, leaves in group_checks.contracts_held(books.groups, books.open).items():
        contracts[key] += leaves
    for account_id, account in books.accounts.items():
        if abs(D(account.frozen) - money[account_id]) > ROUNDING:
            violations.append(f"frozen {account.frozen}, its orders need {money[account_id]}")
        margin = sum((D(p.margin) for p in books.positions if p.account_id == account_id), D(0))
        if D(account.margin) != margin:
            violations.append(f"margin {account.margin}, that of the positions {margin}")
    for position in books.positions:
        key = (position.account_id, position.symbol, position.side)
        needed = contracts.pop(key, D(0))
        if D(position.frozen_quantity) != needed:
            violations.append(f"position {key}: {position.frozen_quantity} frozen, its orders close {needed}")
    violations += [f"{key}: orders close {needed} that is not held" for key, needed in contracts.items() if needed]
    return violations + holdings(books, model)


async def _acknowledged(model: Any, books: Books) -> list[str]:
    violations = []
    by_client = {(order.account_id, order.client_order_id): order for order in books.orders.values()}
    for intent in model.intents.values():
        order = by_client.get((intent.account_id, intent.client_order_id))
        if intent.order_id:
            if order is None or order.order_id != intent.order_id:
                violations.append(f"{intent.client_order_id}: acknowledged as {intent.order_id}, and not there")
        elif order is not None and intent.refused and not intent.unsure:
            violations.append(f"{intent.client_order_id}: refused, and there as {order.order_id}")
        elif order is not None and not intent.order_id:
            model.by_order[order.order_id] = intent
            intent.order_id, intent.most = order.order_id, max(intent.most, D(order.quantity))
            model.acknowledged.append(order.order_id)
    return violations


def _streams(model: Any, books: Books) -> list[str]:
    """Compare what a stream published with a snapshot."""
    violations = []
    for user, follower in model.followers.items():
        if not follower.running or not follower.complete:
            violations.append(f"the stream of {user} is not complete")
            continue
        mine = {account_id for name, _, account_id in model.accounts if name == user}
        for order_id, streamed in follower.orders.items():
            if order_id in books.orders and streamed != books.orders[order_id]:
                violations.append(f"the stream's order {streamed}\nis not the snapshot's {books.orders[order_id]}")
        missing = {o.order_id for o in books.open.values() if o.account_id in mine} - follower.orders.keys()
        violations += [f"the stream did not publish {order_id}" for order_id in missing]
        shown = {(p.account_id, p.symbol, p.side): p for p in books.positions if p.account_id in mine}
        for key, streamed in follower.positions.items():
            if key not in shown and D(streamed.quantity):
                violations.append(f"the stream's position {streamed} is not there")
        for key, position in shown.items():
            if key not in follower.positions or plain(follower.positions[key]) != plain(position):
                violations.append(f"the stream's position {follower.positions.get(key)}\nis not {position}")
        for account_id in mine:
            streamed, account = follower.accounts.get(account_id), books.accounts[account_id]
            if streamed is None or plain(streamed) != plain(account):
                violations.append(f"the stream's account {streamed}\nis not {account}")
    return violations


def plain(message: Any) -> Any:
    """A snapshot without what follows from the last prices."""
    copy = type(message)()
    copy.CopyFrom(message)
    for name in PRICED:
        if name in copy.DESCRIPTOR.fields_by_name:
            copy.ClearField(name)
    return copy
