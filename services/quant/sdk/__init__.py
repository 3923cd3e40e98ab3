"""What strategies are written with: base class, events, broker, parameters, loading of classes."""
