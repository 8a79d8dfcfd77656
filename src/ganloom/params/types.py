"""Kinds of value that several sections share, and the base class of all sections."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

# A dot or a dash in a name breaks DVC's look-up of `models.<name>.<key>`.
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


def _rate(value: Any) -> Any:
    rates = value if isinstance(value, list) else [value]
    if not rates or any(
        isinstance(r, bool) or not isinstance(r, (int, float)) or not 0 <= r < 1 for r in rates
    ):
        raise PydanticCustomError(
            "rate", "Input should be one rate of 0 <= rate < 1, or a list with a rate per block"
        )
    return value


# One rate for every block, or a list with one per block.
Rates = Annotated[float | list[float], BeforeValidator(_rate)]


def unique(values: list[Any]) -> list[Any]:
    """The same values; refuses a value that occurs twice."""
    if len(set(values)) != len(values):
        raise PydanticCustomError("unique", "Input should not name anything twice")
    return values


Unique = AfterValidator(unique)


def _sha256(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise PydanticCustomError("hash", "Input should be 64 hexadecimal digits, as of sha256sum")
    return text


Sha256 = Annotated[str, AfterValidator(_sha256)]


class Section(BaseModel):
    """A section of ``params.yaml``.

    No stage but `check` depends on the source of the schema, so a default must not be a value: an
    edit of it would change results without DVC noticing. The default of a key that may be missing
    is None or False: what it describes is off.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse defaults that are values.

        Raises:
            TypeError: a field has one.
        """
        for name, field in cls.model_fields.items():
            is_off = field.default is None or field.default is False
            if not field.is_required() and not is_off:
                raise TypeError(
                    f"{cls.__name__}.{name}: the default can only be None or False; values belong "
                    "in params.yaml, where DVC notices an edit"
                )
