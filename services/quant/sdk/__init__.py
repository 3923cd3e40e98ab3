"""The SDK of strategies: base class, events, broker, parameters, loading of classes."""
