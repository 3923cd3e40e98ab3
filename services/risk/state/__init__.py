"""State in the database: limits, trading states, days, events."""
