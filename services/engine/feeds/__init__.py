"""Where SIM's market comes from: a seeded random one, or a recorded one replayed."""
