"""Other services as trading sees them: the engine, market's quotes and instruments, risk's checks."""
