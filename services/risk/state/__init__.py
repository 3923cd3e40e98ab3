"""What risk writes: settings, days, events; and what it enforces."""
