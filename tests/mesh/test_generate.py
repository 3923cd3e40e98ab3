"""`make gen`: what is committed is what the contract makes."""

import json
from pathlib import Path

import pytest

from services.kernel.policy import descriptor_set
from services.kernel.rpc.service_config import service_config
from services.mesh.contract import Contract
from services.mesh.generate import OPENAPI, ROOT, differences, generate, publish


def test_what_is_committed_is_up_to_date(tmp_path: Path) -> None:
    generate(tmp_path)
    assert list(differences(tmp_path, ROOT)) == []


@pytest.mark.slow
def test_the_same_bytes_come_out_each_time(tmp_path: Path) -> None:
    generate(tmp_path / "one")
    generate(tmp_path / "two")
    assert list(differences(tmp_path / "one", tmp_path / "two")) == []


def test_missing_changed_and_stale_files_are_named_and_mended(tmp_path: Path) -> None:
    made, committed = tmp_path / "made", tmp_path / "committed"
    for folder, files in {made: {"a": "1", "b": "2"}, committed: {"b": "3", "c": "4"}}.items():
        for name, text in files.items():
            (folder / "gen").mkdir(parents=True, exist_ok=True)
            (folder / "gen" / name).write_text(text)
    changes = list(differences(made, committed))
    assert changes == [("missing", "gen/a"), ("changed", "gen/b"), ("stale  ", "gen/c")]
    publish(made, committed, changes)
    assert list(differences(made, committed)) == []


def test_reasons_are_those_of_the_contract() -> None:
    from redfire.common.v1 import error_reason_pb2
    from redfire.reasons import Reason

    names = [value.name for value in error_reason_pb2.ErrorReason.DESCRIPTOR.values if value.number]
    assert [reason.value for reason in Reason] == names == [reason.name for reason in Reason]


def test_clients_retry_just_what_may_be_repeated() -> None:
    config = json.loads((ROOT / "gen/service_config.json").read_text())
    entries = {f"/{e['name'][0]['service']}/{e['name'][0]['method']}": e for e in config["methodConfig"]}
    for rpc in Contract(descriptor_set()).rpcs:
        entry = entries[rpc.policy.full_name]
        assert ("retryPolicy" in entry) == (rpc.policy.idempotent and not rpc.policy.streams)
        assert ("timeout" in entry) == (rpc.policy.deadline_s is not None)


def test_services_call_each_other_by_the_service_config_of_clients() -> None:
    config = json.loads((ROOT / "gen/service_config.json").read_text())
    own = service_config(rpc.policy for rpc in Contract(descriptor_set()).rpcs if rpc.policy.service == "trading")
    entries = [e for e in config["methodConfig"] if e["name"][0]["service"].startswith("redfire.trading.")]
    assert own == config | {"methodConfig": entries}


def test_grpc_accepts_the_service_config() -> None:
    import grpc

    options = [("grpc.service_config", (ROOT / "gen/service_config.json").read_text())]
    grpc.insecure_channel("127.0.0.1:1", options=options).close()
    assert (ROOT / OPENAPI).exists()
