"""Start and stop hooks: in which order, and which are left out."""

import pytest

from services.kernel.runtime.lifecycle import Lifecycle


async def test_services_that_did_not_begin_to_start_are_not_stopped():
    done = []
    lifecycle = Lifecycle()

    def hook(name, fails=False):
        async def run():
            done.append(name)
            if fails:
                raise RuntimeError

        return run

    lifecycle.on_start("first", hook("first starts"))
    lifecycle.on_start("second", hook("second starts", fails=True))
    lifecycle.on_start("third", hook("third starts"))
    for name in ("first", "second", "third", "without a start"):
        lifecycle.on_stop(name, hook(f"{name} stops"))
    with pytest.raises(RuntimeError):
        await lifecycle.start()
    await lifecycle.stop(1)
    assert done == ["first starts", "second starts", "without a start stops", "second stops", "first stops"]
