"""The schema of what takes room: blobs that nobody refers to, and tallies of files."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from koschey.stores.models import Base


class Orphan(Base):
    """A blob that no row referred to when somebody looked; it is deleted when that is still so later."""

    __tablename__ = "orphan"
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    marked_at: Mapped[int] = mapped_column(BigInteger, index=True)


class StorageTally(Base):
    """What some thousand files with neighbouring ids come to, as last counted."""

    __tablename__ = "storage_tally"
    block: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    source_id: Mapped[int] = mapped_column(ForeignKey("source.id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(10), primary_key=True)
    state: Mapped[str] = mapped_column(String(10), primary_key=True)
    files: Mapped[int] = mapped_column(BigInteger)
    bytes: Mapped[int] = mapped_column(BigInteger)
    counted_at: Mapped[int] = mapped_column(BigInteger)
