"""RPCs, served and called: handlers, channels, checks of each call, telemetry, reflection, Status."""
