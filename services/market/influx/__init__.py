"""Ticks and closed bars to InfluxDB, as they come."""
