"""The tables of records, which every database of a service has."""

from sqlalchemy import BigInteger, Column, Index, LargeBinary, MetaData, String, Table, Text

from services.kernel.data.writes import Mode, TableWrite

RECORDS, CHAINS = "audit_records", "audit_chains"


def add_audit_tables(metadata: MetaData) -> None:
    """Add them to a service's models."""
    if RECORDS in metadata.tables:
        return
    Table(
        RECORDS, metadata,
        Column("chain", String(36), primary_key=True),
        Column("sequence", BigInteger, primary_key=True, autoincrement=False),
        Column("time_ns", BigInteger, nullable=False),
        Column("user_id", String(64), nullable=False),
        Column("method", String(128), nullable=False),
        Column("outcome", String(32), nullable=False),
        Column("details", Text, nullable=False),
        Column("hash", LargeBinary, nullable=False),
        # Of a checkpoint's hash.
        Column("signature", LargeBinary),
        Index("audit_records_by_time", "time_ns"),
        Index("audit_records_by_user", "user_id", "time_ns"),
        # A chain grows at its end: one tree less to write.
        sqlite_with_rowid=False,
    )  # fmt: skip
    # Chains that checkpoints ask for. What verifies does not rely on it.
    Table(
        CHAINS, metadata,
        Column("chain", String(36), primary_key=True),
        Column("open_time_ns", BigInteger, nullable=False),
        # Of the last checkpoint that holds its head.
        Column("anchored", BigInteger, nullable=False),
    )  # fmt: skip


class AuditTables:
    """The tables of one database, and the ways to write them."""

    def __init__(self, metadata: MetaData) -> None:
        add_audit_tables(metadata)
        self.records, self.chains = metadata.tables[RECORDS], metadata.tables[CHAINS]
        self.insert = TableWrite(Mode.INSERT, self.records, ("chain", "sequence"))
        self.open = TableWrite(Mode.UPSERT, self.chains, ("chain",))
        self.appended = 0
        """Records of `main` that this process has written."""
