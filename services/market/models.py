"""Tables of the market service: who of several replicas records. Ticks and bars are files."""

from sqlalchemy.orm import DeclarativeBase

from services.kernel.shards.columns import NamedLeaseColumns


class Base(DeclarativeBase):
    """The schema of the market database."""


class NamedLeaseRow(NamedLeaseColumns, Base):
    """Leases of duties that one replica has at a time: owner, epoch and expiry."""

    __tablename__ = "named_leases"
