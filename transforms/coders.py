"""Beam coders for msgspec structs, with the version of what they wrote in the first byte."""

from __future__ import annotations

from functools import cache
from typing import Any, Final, Generic, TypeVar, cast

import apache_beam as beam
import msgspec

from transforms import elements

FORMAT_VERSION: Final = 1
_PREFIX: Final = bytes([FORMAT_VERSION])


S = TypeVar("S", bound=msgspec.Struct)


class StructCoder(beam.coders.Coder, Generic[S]):
    """Encodes one struct type as MessagePack. Not for keys: dicts are written in their own order.

    Fields that are added later with a default still decode what an older job wrote, in state as
    in flight; any other change needs a new FORMAT_VERSION and a branch here.
    """

    def __init__(self, struct_type: type[S]) -> None:
        self._struct_type = struct_type
        self._encoder, self._decoder = _codec(struct_type)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._struct_type,)

    def encode(self, value: S) -> bytes:
        return _PREFIX + self._encoder.encode(value)

    def decode(self, encoded: bytes) -> S:
        if encoded[0] != FORMAT_VERSION:
            raise ValueError(
                f"{self._struct_type.__name__} was written in format {encoded[0]}, this job reads format "
                f"{FORMAT_VERSION}: drain the old job instead of updating it"
            )
        return cast("S", self._decoder.decode(memoryview(encoded)[1:]))

    @classmethod
    def from_type_hint(cls, typehint: type[S], registry: object) -> StructCoder[S]:  # noqa: ARG003
        return cls(typehint)

    def is_deterministic(self) -> bool:
        return False

    def to_type_hint(self) -> type[S]:
        return self._struct_type

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._struct_type is other._struct_type

    def __hash__(self) -> int:
        return hash(self._struct_type)


class BatchCoder(StructCoder[S]):
    """For batches of lines: Beam samples the size of elements, and must not encode 50,000 lines for it."""

    ROUGH_SIZE: Final = 1 << 20

    def estimate_size(self, value: S) -> int:  # noqa: ARG002
        return self.ROUGH_SIZE


@cache
def _codec(struct_type: type[Any]) -> tuple[msgspec.msgpack.Encoder, msgspec.msgpack.Decoder[Any]]:
    return msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(struct_type)


def register_coders() -> None:
    """Tell Beam how to encode every element of the job; call before a graph is built."""
    for value in vars(elements).values():
        if isinstance(value, type) and issubclass(value, msgspec.Struct) and value is not msgspec.Struct:
            register_struct(value)
    for batch_type in (elements.PayloadBatch, elements.LogBatch, elements.MetricBatch):
        beam.coders.registry.register_coder(batch_type, BatchCoder)


def register_struct(struct_type: type[Any]) -> None:
    """Tell Beam to encode `struct_type` with StructCoder; what is no struct keeps Beam's own coder."""
    if issubclass(struct_type, msgspec.Struct):
        beam.coders.registry.register_coder(struct_type, StructCoder)
