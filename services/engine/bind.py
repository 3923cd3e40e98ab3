"""What the engine is made of."""

from services.engine.feeds.feed import parse_feed
from services.engine.settings import EngineSettings
from services.engine.vnpy import home as vnpy_home
from services.kernel.runtime.service_context import ServiceContext
from services.quant.catalogue import Catalogue


def bind(context: ServiceContext) -> None:
    """Build the engine."""
    settings = context.section(EngineSettings)
    catalogue = Catalogue.load(settings.instruments_file)
    feed = parse_feed(settings.feed)
    vnpy_home.prepare(context.data_dir / "engine")
    from services.engine.parts import Engine

    engine = Engine(context, catalogue, feed)
    context.serve(engine.api)
    context.on_start(engine.start)
    context.background("clockwork", engine.run)
    context.on_drain(engine.drain)
    context.on_stop(engine.stop)
    context.ready_when("sim", lambda: engine.ready)
