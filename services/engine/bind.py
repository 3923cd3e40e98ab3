"""What the engine is made of."""

from services.engine.feeds.feed import parse_feed
from services.engine.settings import EngineSettings
from services.engine.vnpy import home as vnpy_home
from services.kernel.runtime.service_context import Process
from services.quant.catalogue import Catalogue


def bind(process: Process) -> None:
    """Build the engine."""
    settings = process.section(EngineSettings)
    catalogue = Catalogue.load(settings.instruments_file)
    feed = parse_feed(settings.feed)
    vnpy_home.prepare(process.data_dir / "engine")
    from services.engine.parts import Engine

    engine = Engine(process, catalogue, feed)
    process.serve(engine.api)
    process.on_start(engine.start)
    process.background("clockwork", engine.run)
    process.on_drain(engine.drain)
    process.on_stop(engine.stop)
    process.ready_when("sim", lambda: engine.ready)
