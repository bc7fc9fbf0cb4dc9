"""The schema behind the pages on which people browse: search, and descriptions that were rendered."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from koschey.stores.models import Base

#: Compared byte by byte on both databases, so that a range of an index is what begins with some letters.
_PLAIN = String(200).with_variant(String(200, collation="C"), "postgresql")


class NameWord(Base):
    """A normalised name under one of the places at which it can be found.

    ``flask-sqlalchemy`` is found under itself and under ``sqlalchemy``; whatever source has it.
    """

    __tablename__ = "name_word"
    part: Mapped[bool] = mapped_column(primary_key=True)
    """Whether it begins inside the name; the names that begin with what was typed come first."""
    word: Mapped[str] = mapped_column(_PLAIN, primary_key=True)
    name: Mapped[str] = mapped_column(_PLAIN, primary_key=True)


class DescriptionRow(Base):
    """What a METADATA says of its project, made fit for a page (JSON of ``koschey.checks.description``)."""

    __tablename__ = "description"
    __table_args__ = (Index(None, "made_at"),)
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    """Of the METADATA."""
    body: Mapped[str] = mapped_column(Text)
    made_at: Mapped[int] = mapped_column(BigInteger)
