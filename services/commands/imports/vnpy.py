"""`redfire import vnpy`: a vnpy user's settings, gateways, strategies and database, shown first, then brought over."""

import json
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from services.commands.click_command import BadInput, Command, progress_bar
from services.commands.data_folder import ADDRESSES, data_dir_option, open_private
from services.commands.imports.gateways import FILE, GatewayPlan, plan_gateways, write_gateways
from services.commands.imports.platform import Platform, StrategyPlan, bring
from services.commands.imports.secrets import FoundSecrets
from services.commands.imports.vnpy_database import Series, VnpyDatabase
from services.commands.imports.vnpy_folder import VnpyFolder, read_folder

INCOMPLETE = 3


@click.group("import")
def import_() -> None:
    """Bring over what another platform has. Everything may be repeated: what is here already is left as it is."""


@import_.command("vnpy", cls=Command)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--apply", is_flag=True, help="Do it; without it only what would be done is shown.")
@click.option("--environment", default="development", show_default=True, help="The environment of the settings.")
@click.option("--account", default="", help="The account of the strategies (its id); by default the user's first.")
@click.option("--timezone", default="", help="The zone of the database's times; by default what vt_setting.json says.")
@click.option("--no-data", is_flag=True, help="Leave the database out.")
@click.option("--edge", help="The edge's address, host:port; by default the one of the data folder.")
@click.option("--token", envvar="TOKEN", help="An access token of the strategies' owner; by default the admin's.")
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def vnpy(
    folder: Path,
    apply: bool,
    environment: str,
    account: str,
    timezone: str,
    no_data: bool,
    edge: str | None,
    token: str | None,
    data_dir: Path,
    as_json: bool,
) -> None:
    """Bring over FOLDER, vnpy's .vntrader or the folder it is in.

    Gateways go into gateways.yaml of the data folder (they do not connect by themselves), passwords into its folder
    secrets. Settings go into the config service and strategies, stopped, with their variables, into the strategy
    service: for these the platform must run. Bars and ticks go into the data folder's store. The report compares what
    vnpy has with what is here afterwards; exit code 3 where something is not the same.
    """
    source = read_folder(folder)
    secrets = FoundSecrets()
    gateways = plan_gateways(data_dir / FILE, source.gateways, secrets)
    settings = {key: secrets.take(value, key, f"vnpy.{key}") for key, value in source.settings.items()}
    unread = list(source.unread)
    # Opened before anything is written: what cannot be read changes nothing.
    database = (
        None if source.database is None or no_data else VnpyDatabase(source.database, timezone or source.timezone)
    )
    if apply:
        open_private(data_dir)
        secrets.write(data_dir)
        write_gateways(data_dir / FILE, gateways)
    strategies = [StrategyPlan(strategy) for strategy in source.strategies]
    differing: list[str] | None = None if settings else []
    if edge or token or (data_dir / ADDRESSES).exists():
        platform = Platform(data_dir, edge, token, environment, account)
        differing = bring(platform, settings, strategies, apply=apply)
    elif settings or strategies:
        unread.append(f"settings and strategies: nothing runs on {data_dir}; start redfire up, then repeat this")
        for plan in strategies:
            plan.state = "waits"
    series: list[Series] = []
    if database is not None:
        with closing(database):
            series = _data(database, data_dir, unread, apply=apply)
    report = {
        "applied": apply,
        "settings": {"values": len(settings), "differing": differing},
        "secrets": secrets.names,
        "gateways": [{"name": plan.name, "state": plan.state, "installed": plan.is_installed} for plan in gateways],
        "strategies": [plan.as_dict() for plan in strategies],
        "data": [asdict(one) for one in series],
        "not_read": unread,
    }
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False))
    else:
        _print(report, source, gateways, strategies, series, data_dir)
    if apply and not _is_complete(gateways, strategies, series, differing, unread):
        sys.exit(INCOMPLETE)


def _data(database: VnpyDatabase, data_dir: Path, unread: list[str], *, apply: bool) -> list[Series]:
    from services.quant.backtest.data.store import DataStore

    series, left = database.series()
    unread += left
    if not apply:
        return series
    store, total, done = DataStore(data_dir, database.timezone), sum(one.rows for one in series), 0
    with progress_bar("bars and ticks") as bar:
        for one in series:
            try:
                for rows in database.bring(one, store):
                    done += rows
                    if bar is not None:
                        bar(done / total)
            except OSError as error:
                raise BadInput(f"data folder {data_dir}: {error.strerror or error}") from None
    return series


def _is_complete(
    gateways: list[GatewayPlan],
    strategies: list[StrategyPlan],
    series: list[Series],
    differing: list[str] | None,
    unread: list[str],
) -> bool:
    return not (
        unread
        or differing is None
        or differing
        or any(plan.state == "other" for plan in gateways)
        or any(plan.problems for plan in strategies)
        or any(not one.is_complete for one in series)
    )


def _print(
    report: dict[str, Any],
    source: VnpyFolder,
    gateways: list[GatewayPlan],
    strategies: list[StrategyPlan],
    series: list[Series],
    data_dir: Path,
) -> None:
    applied, settings = report["applied"], report["settings"]
    click.echo(f"{source.path}" + ("" if applied else ": nothing is done yet; --apply does it"))
    if settings["values"]:
        differing = settings["differing"]
        state = "" if differing is None else f", {len(differing)} not as in vnpy" if differing else ", all as in vnpy"
        click.echo(f"settings    {settings['values']} values of vt_setting.json, service vnpy of config{state}")
    if report["secrets"]:
        click.echo(f"secrets     {len(report['secrets'])} in {data_dir / 'secrets'}: {', '.join(report['secrets'])}")
    for plan in gateways:
        what = {
            "new": f"into {data_dir / FILE}",
            "same": "there already",
            "other": "there with other values: they stay",
        }
        missing = "" if plan.is_installed else f"; {plan.settings['module']} is not installed"
        click.echo(f"gateway     {plan.name}: {what[plan.state]}{missing}")
    for strategy in strategies:
        click.echo(f"strategy    {strategy.sentence}")
    for one in series:
        added = f"; {one.added:,} added, {one.known:,} known, {one.skipped:,} skipped, {one.same:,} the same here"
        click.echo(f"data        {one.symbol} {one.interval}: {one.rows:,} rows{added if applied else ''}")
        for sentence in one.why:
            click.echo(f"            {sentence}")
    if source.strategy_files:
        click.echo(
            f"files       {len(source.strategy_files)} in {source.strategy_files[0].parent}: "
            f"redfire up --strategies {source.strategy_files[0].parent}"
        )
    if any(plan.state != "other" for plan in gateways):
        click.echo(f"gateways are used by redfire up --config {data_dir / FILE}")
    for sentence in report["not_read"]:
        click.echo(f"not brought over: {sentence}")
