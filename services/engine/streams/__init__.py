"""The streams of the engine: numbered ticks and events, and what readers of them resume from."""
