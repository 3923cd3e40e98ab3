"""A real RabbitMQ broker for tests, of Debian's package: made in a temporary folder, stopped by its maker."""

import aio_pika

from deploy.production.rabbitmq import LocalRabbitMq
from services import registry
from tests.machine import lacks


class RabbitMqServer(LocalRabbitMq):
    """One broker on free ports of 127.0.0.1 that its tests may kill, stop and start again."""

    async def empty(self) -> None:
        """Remove what earlier tests declared."""
        connection = await aio_pika.connect(self.url)
        async with connection:
            channel = await connection.channel()
            for service in registry.SERVICES:
                await channel.queue_delete(f"redfire.{service}")
            await channel.exchange_delete("redfire.events")

    def remembers(self, queue: str) -> bool:
        """True when the broker finds a quorum queue after it is killed: 3.10 writes its name down a little later."""
        names = self.folder.glob("data/*/quorum/*/names.dets")
        return any(queue.encode() in file.read_bytes() for file in names)


def installed_broker() -> RabbitMqServer:
    """A running broker. Where RabbitMQ is not installed the test is skipped; under CI it fails."""
    try:
        return RabbitMqServer()
    except FileNotFoundError as error:
        lacks(str(error))
