"""The schema of what happened by the hour, for the plots of the overview."""

from __future__ import annotations

from sqlalchemy import BigInteger, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from koschey.stores.models import Base


class HourTally(Base):
    """How much of something there was in an hour."""

    __tablename__ = "tally"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    hour: Mapped[int] = mapped_column(Integer, primary_key=True)
    """Hours since 1970, UTC."""
    count: Mapped[int] = mapped_column(BigInteger)
