"""The peer of `tests.bench.processes`: the order path as a team writes it with FastAPI.

Four services, each a uvicorn process: `gateway` checks tokens and passes on, `trading` validates, asks `risk` by HTTP,
writes the order and publishes it with the broker's confirmation, `engine` is the venue, whose reports come back to
trading. Plain code, and what is quick of it: uvloop, httptools, kept connections, SQLAlchemy's Core without its ORM.
"""
