"""What all sections of the settings have in common."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the tree of settings: frozen, and unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
