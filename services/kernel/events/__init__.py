"""Events between services: written in the transaction of their change, delivered at least once, applied once.

A producer adds an event to its outbox in the transaction of the change; the relay hands what is committed to the
transport, and forgets it once that has it. The transport brings it to every consuming service: within the process, or
by RabbitMQ. The contract states each event's routing key, and the id by which its order is kept.
"""
