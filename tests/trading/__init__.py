"""Trading over its gRPC API, with played peers. Flat: a file for each rule, on the books and fakes that they share."""
