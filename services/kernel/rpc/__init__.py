"""How RPCs are served and called: handlers, channels, checks of each call, health, reflection, Status."""
