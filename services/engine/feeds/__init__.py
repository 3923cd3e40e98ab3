"""Sources of SIM's market: a seeded random one, or a recorded one replayed."""
