"""The schema of root lists with many names, as they were last built."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from koschey.stores.models import Base


class RootListRow(Base):
    """The root list of an index with many names, as it was last built; its names are in ``root_chunk``."""

    __tablename__ = "root_list"
    index_id: Mapped[int] = mapped_column(ForeignKey("index.id", ondelete="CASCADE"), primary_key=True)
    serial: Mapped[int] = mapped_column(BigInteger)
    """Everything up to this serial is in it."""
    sources: Mapped[str] = mapped_column(Text)
    """What its names hang on besides projects: another value, and it is built from the beginning."""
    names: Mapped[int] = mapped_column(BigInteger)
    mark: Mapped[str] = mapped_column(String(32))
    """Random, another one for each build: what its bytes are known by."""
    built_at: Mapped[int] = mapped_column(BigInteger)


class RootChunk(Base):
    """Some hundred neighbouring names of a root list, in the order of their code points."""

    __tablename__ = "root_chunk"
    index_id: Mapped[int] = mapped_column(ForeignKey("index.id", ondelete="CASCADE"), primary_key=True)
    first: Mapped[str] = mapped_column(String(200), primary_key=True)
    """The lowest name that belongs here, whether it is there or not."""
    names: Mapped[int]
    body: Mapped[bytes] = mapped_column(LargeBinary)
    """Its part of the JSON list, raw DEFLATE up to a full flush: pieces of it joined are one stream."""
