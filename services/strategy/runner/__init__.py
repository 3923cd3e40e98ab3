"""The worker process: strategies of both kinds, and the broker through which they see the platform."""
