"""A production set-up on one machine: PostgreSQL, Redis and RabbitMQ of its own, and a platform in processes on them.

`make run-production` runs it; tests run the same servers.
"""
