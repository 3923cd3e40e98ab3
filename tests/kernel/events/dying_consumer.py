"""A consuming service as a process that kills itself: `python -m … URL DATABASE_URL WHERE`.

WHERE is `accepted`: what came is in the inbox, and not acknowledged; or `applied`: the transaction of an event is
committed, and nobody knows.
"""

import asyncio
import os
import signal
import sys

from services.kernel.events.rabbitmq import RabbitMq
from tests.kernel.events.consumer import KEY, Consumer


def _die():
    os.kill(os.getpid(), signal.SIGKILL)


async def _main(url, database_url, where):
    transport = RabbitMq(url, "dying")
    consumer = Consumer(transport, database_url)
    await consumer.database.start()

    async def accept_and_die(deliveries):
        await consumer.inbox.accept(deliveries)
        _die()

    async def apply_and_die(event, receipt):
        await consumer.apply(event, receipt)
        _die()

    if where == "accepted":
        transport.consume("trading", KEY, accept_and_die)
    else:
        consumer.inbox.subscribe(KEY, apply_and_die)
    await asyncio.gather(transport.run(), consumer.inbox.run())


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
