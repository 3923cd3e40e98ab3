"""The process that services run in: settings, start and stop, telemetry, the operators' port."""
