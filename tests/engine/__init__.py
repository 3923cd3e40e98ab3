"""The engine alone, over its gRPC API. Flat: a file for each rule or component, on a few helpers that are no tests."""
